"""CAdES baseline B (CAdES-BES), detached, by pyHanko's library: its command makes only plain CMS.

Usage: cades.py CONFIGURATION INPUT OUTPUT; the configuration is a pyhanko.yml with the setup "signature".
"""

import asyncio
import sys

import yaml
from pyhanko.config.pkcs11 import PKCS11SignatureConfig
from pyhanko.sign.pkcs11 import PKCS11SigningContext
from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes

configuration, source, target = sys.argv[1:]
with open(configuration, encoding="utf-8") as text:
    setup = yaml.safe_load(text)["pkcs11-setups"]["signature"]
with PKCS11SigningContext(PKCS11SignatureConfig.from_config(setup)) as signer:
    with open(source, "rb") as document:
        work = signer.async_sign_general_data(
            document, "sha256", use_cades=True, signed_attr_settings=PdfCMSSignedAttributes()
        )
        signature = asyncio.run(work)
with open(target, "wb") as file:
    file.write(signature.dump())
