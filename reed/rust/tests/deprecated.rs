//! The former names of the API still work.

#![allow(deprecated, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::FakeCore;
use reed_plugin::wire::codes::{Command, flags};
use reed_plugin::wire::common::ErrorResponse;
use reed_plugin::{Action, Context, Error, Input, Plugin, ReedPlugin, Reply, Value, json};

#[test]
fn the_builder_has_its_former_names() {
    let core = FakeCore::new("demo", &[]);
    let plugin = Plugin::new("demo", "1.0.0")
        .action("log", 1, |ctx, _| {
            ctx.log("a line");
            Ok(())
        })
        .action("ask", 2, |ctx, _| {
            let error = ctx.ask(Command::RegistryList, &[]).unwrap_err();
            Ok(json!([error.status(), error.next()]))
        })
        .figures(|| json!({"depth": 9}))
        .workers(1)
        .patience(Duration::from_millis(50));
    let plugin = core.start(plugin);
    let mut link = core.ready();
    assert_eq!(link.call(1, b""), (200, json!({})));
    link.send(2, b"", 0);
    let asked = link.frame();
    assert_eq!(asked.command_id, Command::RegistryList as u8);
    let error = ErrorResponse { status: 403, error_code: 10004, message: "denied".to_owned() };
    link.send(asked.command_id, &error.pack(), flags::RESPONSE | flags::ERROR);
    assert_eq!(link.answer_of(2), (200, json!([403, ""])));
    link.send(Command::PluginHealth as u8, &[], 0);
    let metrics: Value = serde_json::from_slice(&link.frame().payload[6..]).unwrap();
    assert_eq!(metrics["own"], json!({"depth": 9}));
    link.shut_down(plugin);
}

struct Former;

impl ReedPlugin for Former {
    fn name(&self) -> &str {
        "former"
    }

    fn version(&self) -> &str {
        "1.0.0"
    }

    fn actions(&self) -> Vec<Action> {
        Vec::new()
    }

    fn handle_command(&self, _: &Context<'_>, _: u8, _: &Input<'_>) -> Result<Reply, Error> {
        Ok(Reply::from(()))
    }

    fn figures(&self) -> Value {
        json!(1)
    }

    fn workers(&self) -> usize {
        3
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(7)
    }
}

#[test]
fn the_trait_has_its_former_names() {
    assert_eq!(Former.metrics(), json!(1));
    assert_eq!((Former.concurrency(), Former.reconnect_timeout()), (3, Duration::from_secs(7)));
}
