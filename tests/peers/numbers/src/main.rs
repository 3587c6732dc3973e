//! Sends numbers to the plugin in its settings, and appends the numbers that it receives to a file, one per line.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use reed_plugin::{Context, Error, Input, Plugin, PluginMessage, Signal, Value, json, strict_json};

const NUMBER: u8 = 1;
const DOUBLE: u8 = 2;

fn target(ctx: &Context<'_>) -> String {
    ctx.settings().get("target").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn failed(error: std::io::Error) -> Error {
    Error::fail(500, error.to_string())
}

fn data_dir(ctx: &Context<'_>) -> PathBuf {
    ctx.data_dir().map(Path::to_owned).unwrap_or_default()
}

fn wait_at_gate(ctx: &Context<'_>) -> Result<(), Error> {
    let gate = data_dir(ctx).join("gate");
    if gate.exists() {
        fs::write(data_dir(ctx).join("at-gate"), b"").map_err(failed)?;
    }
    while gate.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn post(ctx: &Context<'_>, input: &Input<'_>) -> Result<Value, Error> {
    wait_at_gate(ctx)?;
    let asked = input.json()?;
    let number = |key: &str| asked.get(key).and_then(Value::as_u64).unwrap_or_default();
    let padding = "x".repeat(number("padding") as usize);
    let (mut sent, mut status) = (0, None);
    for n in number("from")..=number("to") {
        match ctx.send_message(&target(ctx), NUMBER, &json!([n, padding])) {
            Ok(_) => sent += 1,
            Err(error) => {
                status = Some(error.status());
                break;
            }
        }
    }
    let answer =
        status.map_or_else(|| json!({"sent": sent}), |status| json!({"sent": sent, "status": status}));
    fs::write(data_dir(ctx).join("posted"), answer.to_string()).map_err(failed)?;
    Ok(answer)
}

fn append(ctx: &Context<'_>, message: &PluginMessage) -> Result<(), Error> {
    wait_at_gate(ctx)?;
    let payload = strict_json::parse(&message.payload)?;
    let path = data_dir(ctx).join("got");
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    file.write_all(format!("{}\n", payload[0]).as_bytes()).map_err(failed)
}

fn send_signal(ctx: &Context<'_>, input: &Input<'_>) -> Result<(), Error> {
    let signal = if input.json()? == json!("busy") { Signal::Busy } else { Signal::Sleeping };
    ctx.send_signal(signal, b"")
}

fn main() -> ExitCode {
    let hold = PathBuf::from(std::env::var("REED_DATA_DIR").unwrap_or_default()).join("hold");
    while fs::exists(&hold).unwrap_or(false) {
        std::thread::sleep(Duration::from_millis(2)); // in the state "starting"
    }
    let name = std::env::var("REED_PLUGIN_NAME").unwrap_or_default();
    Plugin::builder(name, "1.0.0")
        .action("post", 1, post)
        .action("ask", 2, |ctx, input| {
            ctx.request(&target(ctx), DOUBLE, &input.json()?, Duration::from_secs(10))
        })
        .action("say", 3, |ctx, input| send_signal(ctx, input))
        .on_message(NUMBER, append)
        .on_message(DOUBLE, |_, message| {
            let number = strict_json::parse(&message.payload)?;
            Ok(json!(number.as_u64().unwrap_or_default() * 2))
        })
        .run()
}
