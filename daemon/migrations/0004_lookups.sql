-- A holder's cards and a card's envelopes are looked up among a million.
CREATE INDEX card_by_codice_fiscale ON card (codice_fiscale) WHERE codice_fiscale IS NOT NULL;
CREATE INDEX envelope_by_card ON envelope (card_serial) WHERE card_serial IS NOT NULL;
