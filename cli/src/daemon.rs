//! `cnsctl status` and `cnsctl discover`.

use cns_protocol::daemon::{Discover, Status};

use crate::context::Context;
use crate::error::CliError;
use crate::output;

pub(crate) fn status(context: &mut Context) -> Result<(), CliError> {
    let status = context.call(&Status {})?;
    context.show(&status, |status| {
        let roles: Vec<_> = status.roles.iter().map(|role| role.name()).collect();
        output::fields(&[
            ("Version", status.version.clone()),
            ("Protocol", status.protocol.to_string()),
            ("Running for", format!("{} s", status.uptime_seconds)),
            ("Your roles", roles.join(", ")),
        ])
    })
}

pub(crate) fn discover(context: &mut Context) -> Result<(), CliError> {
    let document = context.call(&Discover {})?;
    output::json(&document)
}
