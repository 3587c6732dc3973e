//! The core in memory: what handlers get from it, and what the test sees of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use reed_plugin::testing::FakeCore;
use reed_plugin::wire::codes::Command;
use reed_plugin::wire::search::SearchQuery;
use reed_plugin::wire::snippets::Record;
use reed_plugin::{Answer, Error, Plugin, Signal, Snippet, json, log, strict_json};

#[test]
fn snippets_are_kept_as_by_the_core() {
    let core = FakeCore::new("demo");
    let added = core.add("page", "about", json!({"title": "About", "n": 1.5}));
    assert!(core.writes().is_empty());
    let ctx = core.context();
    let id = ctx.snippet().create("page", "news", &json!({"title": "News"})).unwrap();
    ctx.snippet().update("news", &json!({"title": null, "draft": true}), 1).unwrap();
    let news = core.get(&id).unwrap();
    assert_eq!((news.version, news.content.clone()), (2, json!({"draft": true})));
    assert_eq!(ctx.snippet().get("about").unwrap().content.to_string(), r#"{"n":1.5,"title":"About"}"#);
    let page = ctx.snippet().list("page", "", 1).unwrap();
    assert_eq!((page.snippets[0].id.clone(), page.after.clone()), (added.clone(), added.clone()));
    assert_eq!(ctx.snippet().list("", &page.after, 0).unwrap().snippets, [news]);
    assert_eq!(ctx.snippet().find("page", &json!({"draft": true}), "", 0).unwrap().snippets[0].id, id);
    ctx.snippet().rename("news", "old-news").unwrap();
    ctx.snippet().delete("old-news", false).unwrap();
    let commands: Vec<_> = core.writes().iter().map(|write| write.command).collect();
    let expected =
        [Command::SnippetCreate, Command::SnippetUpdate, Command::SnippetRename, Command::SnippetDelete];
    assert_eq!(commands, expected);
    let update = &core.writes()[1];
    assert_eq!(
        update.fields,
        json!({"ref": "news", "if_version": 1, "patch": {"title": null, "draft": true}})
    );
    assert_eq!(update.id, id);
}

#[test]
fn errors_have_the_status_of_the_core() {
    let core = FakeCore::new("demo");
    let id = core.add("page", "about", json!({}));
    let ctx = core.context();
    let status = |outcome: Result<String, Error>| outcome.unwrap_err().status();
    assert_eq!(ctx.snippet().get("nothing").unwrap_err().status(), 404);
    assert_eq!(status(ctx.snippet().create("page", "about", &json!({}))), 409);
    assert_eq!(status(ctx.snippet().update(&id, &json!({}), 7)), 409);
    assert_eq!(status(ctx.snippet().update(&id, &json!([]), 0)), 422);
    core.fail(Command::SnippetDelete, 503, "the core restarts");
    let error = ctx.snippet().delete(&id, false).unwrap_err();
    assert_eq!(error.status(), 503);
    assert!(error.to_string().contains("the core restarts"));
    ctx.snippet().delete(&id, false).unwrap();
    core.set_permissions(&["snippet_read"]);
    let error = ctx.snippet().create("page", "", &json!({})).unwrap_err();
    assert_eq!(error.status(), 403);
    assert!(error.to_string().contains("snippet_write"), "{error}");
    assert_eq!(ctx.permissions()[0], "snippet_read");
    assert_eq!(ctx.command(Command::SystemStats, &[]).unwrap_err().status(), 403);
}

#[test]
fn bonds_types_search_and_restores_work() {
    let core = FakeCore::new("demo");
    let (parent, child) = (core.add("page", "a", json!({"t": "Hello"})), core.add("page", "b", json!({})));
    let ctx = core.context();
    ctx.schema().bond("a", "b", 3, "hero").unwrap();
    let tree = ctx.schema().tree("a", 0).unwrap();
    assert_eq!(tree["children"][0]["id"], json!(child));
    assert_eq!(ctx.schema().tree("", 0).unwrap().as_array().unwrap().len(), 1);
    assert_eq!(ctx.snippet().delete("a", false).unwrap_err().status(), 409);
    ctx.schema().unbond("a", "b").unwrap();
    assert!(ctx.registry().define("page", &json!({"searchable": {"t": 1}})).unwrap());
    assert_eq!(ctx.registry().get("page").unwrap(), json!({"searchable": {"t": 1}}));
    assert_eq!(ctx.registry().list().unwrap().len(), 1);
    assert_eq!(ctx.registry().delete("page").unwrap_err().status(), 409);
    let query = SearchQuery { query: "hello".to_owned(), ..SearchQuery::default() };
    assert_eq!(ctx.search().query(&query).unwrap().hits[0].id, parent);
    assert_eq!(ctx.search().index("").unwrap(), 2);
    let record = Record {
        id: "01900000-0000-7000-8000-0000000000ff".to_owned(),
        snippet_type: "page".to_owned(),
        semantic_name: "c".to_owned(),
        version: 4,
        created_at: 1,
        updated_at: 2,
        content: b"{}".to_vec(),
    };
    assert_eq!(ctx.snippet().restore(&record, 0).unwrap().status, 201);
    assert_eq!(core.get("c").unwrap().version, 4);
}

#[test]
fn the_test_sees_messages_signals_and_the_log() {
    let core = FakeCore::new("demo");
    core.set_settings(&json!({"limit": 3}));
    core.answer("translator", 0x30, json!({"text": "Hello"}));
    core.answer_error("translator", 0x31, 422, "no such language");
    core.without("backup");
    let ctx = core.context();
    assert_eq!(ctx.settings()["limit"], json!(3));
    ctx.send_message("analytics", 0x21, &json!({"n": 1})).unwrap();
    let second = Duration::from_secs(1);
    let answer = ctx.request("translator", 0x30, &json!({"text": "Hallo"}), second).unwrap();
    assert_eq!(answer, json!({"text": "Hello"}));
    let error = ctx.request("translator", 0x31, &json!({}), second).unwrap_err();
    assert_eq!(error.status(), 422);
    let error = ctx.request("translator", 0x32, &json!({}), second).unwrap_err();
    assert!(error.to_string().contains("FakeCore::answer(\"translator\", 0x32, …)"), "{error}");
    assert!(matches!(ctx.send_message("backup", 1, &json!({})), Err(Error::NoFifo { .. })));
    ctx.send_signal(Signal::Busy, b"importing").unwrap();
    log::warn("no backup");
    let messages = core.messages();
    assert_eq!((messages.len(), messages[0].is_request, messages[1].is_request), (4, false, true));
    assert_eq!((messages[0].target.as_str(), messages[0].message_type), ("analytics", 0x21));
    assert_eq!(core.signals()[0].data, b"importing");
    assert_eq!(core.log(), ["warn: no backup"]);
    core.respond_json(Command::PluginHealth, &json!([]));
    assert!(ctx.command(Command::PluginHealth, &[0; 32]).is_ok());
}

#[test]
fn batches_and_pages_work_as_with_a_core() {
    let core = FakeCore::new("demo");
    let plugin = Plugin::builder("demo", "1.0.0")
        .on_start(|ctx| ctx.snippet().create("page", "first", &json!({})).map(|_| ()))
        .action("import", 0x01, |ctx, _| {
            let written = ctx.batch(|batch| {
                for number in 0..250 {
                    batch.create("page", &format!("p/{number}"), &json!({"n": number}))?;
                }
                Ok(())
            })?;
            Ok(json!(written.len()))
        })
        .action("count", 0x02, |ctx, _| Ok(json!(ctx.snippet().each("page").count())))
        .build();
    core.start(&plugin).unwrap();
    assert_eq!(core.call(&plugin, "import", &json!({})).unwrap().json().unwrap(), json!(250));
    assert_eq!(core.call(&plugin, "count", &json!({})).unwrap().json().unwrap(), json!(251));
    core.fail(Command::SnippetCreate, 409, "the name is in use");
    let error = core.call(&plugin, "import", &json!({})).unwrap_err();
    assert!(error.to_string().contains("the name is in use"), "{error}");
}

fn plugin() -> Plugin {
    Plugin::builder("demo", "1.0.0")
        .action("check", 0x01, |_, input| {
            let write = strict_json::parse(input.bytes())?;
            if write["content"]["title"].is_null() {
                return Ok(json!({"refuse": ["a page needs a title"]}));
            }
            let mut content = write["content"].clone();
            content["event"] = write["event"].clone();
            Ok(json!({"content": content}))
        })
        .action("echo", 0x02, |_, input| input.json())
        .action("words", 0x03, |_, input| Ok(json!(input.snippet()?.text("body").split(' ').count())))
        .on_message(0x20, |_, message| Ok(json!({"from": message.source})))
        .on_signal(|ctx, signal, _| ctx.send_signal(Signal::Error, format!("{signal:?}").as_bytes()))
        .on_sleep(|_| {
            log::info("sleeping");
            Ok(())
        })
        .build()
}

#[test]
fn a_whole_plugin_is_called_as_by_the_core() {
    let (core, plugin) = (FakeCore::new("demo"), plugin());
    core.add("page", "about", json!({"body": "one two"}));
    assert_eq!(core.call_snippet(&plugin, "words", "about").unwrap().json().unwrap(), json!(2));
    core.update("about", &json!({"body": "one"}));
    let event = core.event(&plugin, "echo", "snippet.updated", "about").unwrap().json().unwrap();
    assert_eq!((event["name"].clone(), event["version"].clone()), (json!("about"), json!(2)));
    core.delete("about");
    let event = core.event(&plugin, "echo", "snippet.deleted", "about").unwrap().json().unwrap();
    assert_eq!((event["id"].clone(), event["content"].clone()), (json!(2), json!({"body": "one"})));
    let create =
        |content| core.filter(&plugin, "check", "snippet.create", &Snippet::new("page", "", content));
    assert_eq!(create(json!({})).unwrap(), Err(vec!["a page needs a title".to_owned()]));
    let content = json!({"title": "New", "event": "snippet.create"});
    assert_eq!(create(json!({"title": "New"})).unwrap(), Ok(content));
    let due = "2026-03-29T03:00:00+02:00";
    let ran = core.schedule(&plugin, "echo", "nightly", due).unwrap().json().unwrap();
    assert_eq!(ran, json!({"schedule": "nightly", "due": due}));
    let answer = core.message(&plugin, "other", 0x20, &json!({})).unwrap();
    assert_eq!(answer, Answer::Data(json!({"from": "other"})));
    assert_eq!(core.message(&plugin, "other", 0x21, &json!({})).unwrap_err().status(), 404);
    core.signal(&plugin, Signal::WakeUp, b"").unwrap();
    assert_eq!(core.signals()[0].data, b"WakeUp");
    core.sleep(&plugin).unwrap();
    assert_eq!(core.log(), ["info: sleeping"]);
}

#[test]
#[should_panic(expected = "demo has no action \"chek\"; it has: check, echo, words")]
fn an_unknown_action_fails_the_test() {
    let _ = FakeCore::new("demo").call(&plugin(), "chek", &json!({}));
}
