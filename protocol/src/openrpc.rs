//! The OpenRPC 1.3 document of the protocol, made from the message types themselves.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    ErrorKind, Method, Role, audit, card, certificate, counter, custody, daemon, holder, key, key_pair,
    national, operator, order, pin, puk, reader,
};

/// The document that `rpc.discover` answers.
#[must_use]
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft07()
        .with(|s| s.definitions_path = "/components/schemas".into())
        .into_generator();
    let methods = methods(&mut generator);
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "cnsd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The local protocol of the CNS middleware: JSON-RPC 2.0 in Content-Length frames.",
            "license": { "name": "EUPL-1.2" }
        },
        "methods": methods,
        "components": { "schemas": generator.take_definitions(true), "errors": errors() }
    })
}

#[expect(clippy::too_many_lines, reason = "one line for each method")]
fn methods(generator: &mut SchemaGenerator) -> Vec<Value> {
    vec![
        method::<daemon::Discover, Value>(generator),
        method::<daemon::Status, _>(generator),
        method::<reader::List, _>(generator),
        method::<reader::Wait, _>(generator),
        method::<card::List, _>(generator),
        method::<card::Show, _>(generator),
        method::<card::Report, _>(generator),
        method::<card::Trace, _>(generator),
        method::<pin::Verify, _>(generator),
        method::<pin::Logout, _>(generator),
        method::<pin::Change, _>(generator),
        method::<pin::Unblock, _>(generator),
        method::<pin::Status, _>(generator),
        method::<puk::Deliver, _>(generator),
        method::<puk::Open, _>(generator),
        method::<key::Sign, _>(generator),
        method::<key::Decrypt, _>(generator),
        method::<key::Random, _>(generator),
        method::<holder::VerifyUserCode, _>(generator),
        method::<certificate::Status, _>(generator),
        method::<certificate::Suspend, _>(generator),
        method::<certificate::Reactivate, _>(generator),
        method::<certificate::Revoke, _>(generator),
        method::<operator::Login, _>(generator),
        method::<operator::Logout, _>(generator),
        method::<operator::Status, _>(generator),
        method::<counter::Cases, _>(generator),
        method::<counter::Start, _>(generator),
        method::<counter::Next, _>(generator),
        method::<counter::AnswerStep, _>(generator),
        method::<counter::Show, _>(generator),
        method::<counter::List, _>(generator),
        method::<counter::Cancel, _>(generator),
        method::<counter::Sheet, _>(generator),
        method::<key_pair::GenerateKey, _>(generator),
        method::<key_pair::LoadCertificate, _>(generator),
        method::<counter::RemoveSignature, _>(generator),
        method::<custody::ImportCertificate, _>(generator),
        method::<custody::Import, _>(generator),
        method::<custody::ImportBegin, _>(generator),
        method::<custody::ImportChunk, _>(generator),
        method::<custody::ImportFinish, _>(generator),
        method::<custody::ImportDrop, _>(generator),
        method::<custody::Assign, _>(generator),
        method::<custody::Stock, _>(generator),
        method::<custody::AssignEnvelopes, _>(generator),
        method::<custody::ReturnEnvelopes, _>(generator),
        method::<custody::VoidEnvelopes, _>(generator),
        method::<custody::DecideVoid, _>(generator),
        method::<custody::VoidRequests, _>(generator),
        method::<custody::EnvelopeChoices, _>(generator),
        method::<custody::ShowEnvelope, _>(generator),
        method::<national::Ask, _>(generator),
        method::<national::Show, _>(generator),
        method::<national::Receive, _>(generator),
        method::<national::List, _>(generator),
        method::<national::Decide, _>(generator),
        method::<order::Execute, _>(generator),
        method::<order::Receipt, _>(generator),
        method::<order::Certificates, _>(generator),
        method::<custody::RotateKey, _>(generator),
        method::<custody::DecideRotation, _>(generator),
        method::<custody::RotationRequests, _>(generator),
        method::<custody::Keys, _>(generator),
        method::<custody::Verify, _>(generator),
        method::<custody::Backup, _>(generator),
        method::<custody::Erase, _>(generator),
        method::<audit::List, _>(generator),
        method::<audit::Verify, _>(generator),
        method::<audit::Rotate, _>(generator),
    ]
}

fn method<M, A>(generator: &mut SchemaGenerator) -> Value
where
    M: Method<Answer = A> + JsonSchema,
    A: JsonSchema,
{
    let schema = M::json_schema(generator);
    // Requests with the same parameters share a type, and their schema refers to it.
    let shared = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
    let shared = shared.and_then(|name| generator.definitions().get(name)).cloned();
    let schema = shared.unwrap_or_else(|| schema.to_value());
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let params: Vec<Value> = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, schema)| json!({ "name": name, "required": required.contains(&name.as_str()), "schema": schema }))
        .collect();
    let others: Vec<&str> = M::OTHER_ROLES.iter().map(|role| role.name()).collect();
    let or = others.iter().map(|role| format!(" or `{role}`")).collect::<String>();
    json!({
        "name": M::NAME,
        "summary": M::SUMMARY,
        "description": format!("Needs the role `{}`{or}.{}", M::ROLE.name(), if M::ROLE == Role::Counter {
            " Beyond `operator.*`, needs an operator session too."
        } else { "" }),
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": "result", "schema": generator.subschema_for::<A>() },
        "x-role": M::ROLE.name(),
        "x-other-roles": others,
        "x-carries-secret": M::CARRIES_SECRET,
        "x-answers-secret": M::ANSWERS_SECRET,
    })
}

fn errors() -> Value {
    let mut errors = serde_json::Map::new();
    for kind in ErrorKind::ALL {
        let name =
            serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        errors.insert(name.clone(), json!({ "code": kind.code(), "message": name }));
    }
    Value::Object(errors)
}
