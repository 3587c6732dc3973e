//! A plugin with a scripted core, real sockets and real FIFOs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{FakeCore, Peer, run, snippet_got, snippet_page, snippet_written};
use reed_plugin::wire::codes::{Command, flags};
use reed_plugin::wire::snippets::{Record, SnippetFind, SnippetRename};
use reed_plugin::{Answer, Error, Plugin, PluginBuilder, Reply, Signal, Sleep, Value, json};

const TIMEOUT: Duration = Duration::from_secs(10);

const ID: &str = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b";

fn record() -> Record {
    Record {
        id: ID.to_owned(),
        snippet_type: "page".to_owned(),
        semantic_name: "intro".to_owned(),
        version: 1,
        created_at: 1,
        updated_at: 2,
        content: br#"{"title":"Hi"}"#.to_vec(),
    }
}

fn demo() -> PluginBuilder {
    Plugin::builder("demo", "1.0.0")
        .action("echo", 1, |_, input| Ok(json!({"got": input.json()?})))
        .action("panic", 2, |_, _| -> Result<Value, Error> { panic!("at the disco") })
        .action("fail", 3, |_, _| Err::<Value, _>(Error::fail(422, "no title")))
        .action("title", 4, |ctx, input| {
            let name = input.json()?;
            let snippet = ctx.snippet().get(name.as_str().unwrap_or_default())?;
            Ok(json!({"title": snippet.text("title"), "times": [snippet.created_at, snippet.updated_at]}))
        })
        .action("settings", 5, |ctx, _| Ok((*ctx.settings()).clone()))
        .action("ask", 6, |ctx, input| ctx.request("peer", 7, &input.json()?, TIMEOUT))
        .action("tell", 7, |ctx, input| {
            let target = input.json()?;
            ctx.send_message(target.as_str().unwrap_or("peer"), 7, &json!({"n": 1}))?;
            Ok(())
        })
        .action("find", 9, |ctx, input| {
            let found = ctx.snippet().find("page", &input.json()?, "", 1)?;
            let id = ctx.snippet().rename(&found.snippets[0].id, "found")?;
            Ok(json!({"id": id, "after": found.after}))
        })
        .action("wait", 12, |ctx, _| ctx.request("peer", 7, &Value::Null, Duration::MAX))
        .action("made", 8, |_, _| Ok(Reply::from(json!(1)).with_status(201)))
        .on_message(9, |_, message| Ok(json!({"from": message.source})))
        .on_message(10, |_, _| Ok(Answer::None))
        .on_message(11, |_, _| Err::<(), _>(Error::fail(409, "not now")))
}

#[test]
fn a_plugin_registers_signals_ready_and_answers_calls() {
    let core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let mut link = core.accept();
    let register = link.register();
    assert_eq!((register.name.as_str(), register.version.as_str()), ("demo", "1.0.0"));
    assert_eq!(register.pid, std::process::id());
    assert_eq!(register.manifest["actions"]["echo"]["command_id"], 1);
    assert_eq!(register.manifest["messages"], json!([9, 10, 11]));
    assert_eq!(link.signal().0, Signal::Ready);

    assert_eq!(link.call(1, b"[1,null]"), (200, json!({"got": [1, null]})));
    assert_eq!(link.call(1, b""), (200, json!({"got": null})));
    assert_eq!(link.call(8, b""), (201, json!(1)));
    assert_eq!(link.call(5, b""), (200, json!({"depth": 3})));
    let (status, error) = link.call(3, b"");
    assert_eq!((status, &error["code"]), (422, &json!(30003)));
    assert_eq!(link.call(1, b"{").0, 400);
    let (status, error) = link.call(77, b"");
    assert_eq!((status, &error["code"]), (404, &json!(10007)));
    link.shut_down(plugin);
}

#[test]
fn ready_is_sent_with_the_registration() {
    let core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let mut link = core.accept();
    let registration = link.frame();
    assert_eq!(link.signal().0, Signal::Ready);
    link.answer_registration(&registration);
    assert_eq!(link.call(5, b""), (200, json!({"depth": 3})));
    link.shut_down(plugin);
}

#[test]
fn socket_paths_of_any_length_work() {
    let core = FakeCore::below(&"deep".repeat(50), "demo", &[]);
    let plugin = core.start(demo());
    let mut link = core.ready();
    assert_eq!(link.call(1, b"1"), (200, json!({"got": 1})));
    link.shut_down(plugin);
}

#[test]
fn a_panic_is_status_500_and_the_plugin_continues() {
    let (_core, mut link, plugin) = run(&[], demo());
    assert_eq!(link.call(2, b"").0, 500);
    assert_eq!(link.call(1, b"2"), (200, json!({"got": 2})));
    link.shut_down(plugin);
}

#[test]
fn calls_and_signals_that_arrive_during_a_command_are_handled_after_it() {
    let (_core, mut link, plugin) = run(&[], demo());
    link.send(4, b"\"intro\"", 0);
    let asked = link.frame();
    assert_eq!(asked.command_id, Command::SnippetGet as u8);
    link.send_signal(Signal::HealthCheck);
    link.send(1, b"3", 0);
    link.send(asked.command_id, &snippet_got(&record()), flags::RESPONSE);
    assert_eq!(link.answer_of(4), (200, json!({"title": "Hi", "times": [1, 2]})));
    assert_eq!(link.signal().0, Signal::Ready);
    assert_eq!(link.answer_of(1), (200, json!({"got": 3})));
    link.shut_down(plugin);
}

#[test]
fn snippets_are_found_by_fields_and_renamed() {
    let (_core, mut link, plugin) = run(&[], demo());
    link.send(9, br#"{"path":"a/b"}"#, 0);
    let asked = link.frame();
    assert_eq!(asked.command_id, Command::SnippetFind as u8);
    let find = SnippetFind::unpack(&asked.payload).unwrap();
    assert_eq!((find.snippet_type.as_str(), find.after.as_str(), find.limit), ("page", "", 1));
    assert_eq!(find.conditions, br#"{"path":"a/b"}"#);
    link.send(asked.command_id, &snippet_page(ID, &[record()]), flags::RESPONSE);
    let asked = link.frame();
    assert_eq!(asked.command_id, Command::SnippetRename as u8);
    let rename = SnippetRename::unpack(&asked.payload).unwrap();
    assert_eq!((rename.reference.as_str(), rename.semantic_name.as_str()), (ID, "found"));
    link.send(asked.command_id, &snippet_written(200, ID, ""), flags::RESPONSE);
    assert_eq!(link.answer_of(9), (200, json!({"id": ID, "after": ID})));
    link.send(9, b"{}", 0);
    let asked = link.frame();
    link.send(asked.command_id, &snippet_page("", &[record()]), flags::RESPONSE);
    let asked = link.frame();
    link.send(asked.command_id, &snippet_written(409, "", "the name is in use"), flags::RESPONSE);
    assert_eq!(link.answer_of(9).0, 409);
    link.shut_down(plugin);
}

#[test]
fn signals_are_answered_and_health_includes_own_metrics() {
    let (mut core, mut link, plugin) = run(&[], demo().metrics(|| json!({"depth": 9})));
    link.send_signal(Signal::HealthCheck);
    assert_eq!(link.signal().0, Signal::Ready);
    link.send_signal(Signal::WakeUp);
    assert_eq!(link.signal().0, Signal::Ready);
    core.answer["settings"]["depth"] = json!(4);
    link.answer = core.answer.clone();
    link.send_signal(Signal::ReloadConfig);
    link.register();
    assert_eq!(link.signal().0, Signal::Ready);
    assert_eq!(link.call(5, b""), (200, json!({"depth": 4})));
    link.send(Command::PluginHealth as u8, &[], 0);
    let frame = link.frame();
    let metrics: Value = serde_json::from_slice(&frame.payload[6..]).unwrap();
    assert_eq!((&metrics["calls"], &metrics["own"]), (&json!(1), &json!({"depth": 9})));
    link.shut_down(plugin);
}

#[test]
fn a_request_to_another_plugin_returns_its_answer() {
    let (core, mut link, plugin) = run(&["peer"], demo());
    let mut peer = Peer::new(&core, "peer");
    for (kind, body, expected) in [
        (0xF2, json!({"data": [1]}), (200, json!([1]))),
        (0xF0, json!({}), (200, Value::Null)),
        (0xF1, json!({"status": 409, "error": "no"}), (409, Value::Null)),
    ] {
        link.send(6, b"{\"q\":1}", 0);
        let (message_type, timestamp, payload) = peer.receive();
        assert_eq!((message_type, payload), (7, json!({"q": 1})));
        let mut body = body;
        body["in_reply_to"] = json!(timestamp);
        peer.send(0xF0, timestamp, &json!({"in_reply_to": 1})); // of another request
        peer.send(kind, timestamp + 1, &body);
        let (status, answer) = link.answer_of(6);
        assert_eq!((status, if status == 200 { answer } else { Value::Null }), expected);
    }
    link.shut_down(plugin);
}

#[test]
fn a_request_without_an_answer_is_sent_again() {
    let (core, mut link, plugin) = run(&["peer"], demo());
    let mut peer = Peer::new(&core, "peer");
    link.send(6, b"5", 0);
    let first = peer.receive();
    let again = peer.receive();
    assert_eq!(first, again);
    peer.send(0xF2, 1, &json!({"in_reply_to": first.1, "data": 6}));
    assert_eq!(link.answer_of(6), (200, json!(6)));
    link.shut_down(plugin);
}

#[test]
fn messages_are_answered_and_repeats_get_the_same_answer() {
    let (core, link, plugin) = run(&["peer"], demo());
    let mut peer = Peer::new(&core, "peer");
    peer.send(10, 50, &json!({})); // Answer::None
    let whole = peer.message(9, 100, &json!({"text": "x".repeat(5000)}));
    peer.write(&whole[..3000]); // the writer dies
    peer.send(9, 101, &json!({}));
    let answer = peer.receive();
    assert_eq!((answer.0, &answer.2), (0xF2, &json!({"in_reply_to": 101, "data": {"from": "peer"}})));
    peer.send(9, 101, &json!({}));
    let again = peer.receive();
    assert_eq!((again.0, &again.2), (answer.0, &answer.2));
    assert!(again.1 > answer.1, "timestamps increase");
    peer.send(11, 102, &json!({}));
    assert_eq!(peer.receive().2, json!({"in_reply_to": 102, "status": 409, "error": "not now"}));
    peer.send(99, 103, &json!({}));
    let (kind, _, body) = peer.receive();
    assert_eq!((kind, &body["status"]), (0xF1, &json!(404)));
    drop(plugin);
    drop(link);
}

#[test]
fn messages_to_a_full_fifo_are_queued_up_to_a_limit() {
    let core = FakeCore::new("demo", &["peer"]);
    let filler = |ctx: &reed_plugin::Context<'_>, _: &reed_plugin::Input<'_>| {
        let big = json!({"text": "x".repeat(10_000)});
        let mut sent = 0;
        loop {
            match ctx.send_message("peer", 7, &big) {
                Ok(_) => sent += 1,
                Err(Error::QueueFull { waiting, .. }) => {
                    return Ok(json!({"sent": sent, "waiting": waiting}));
                }
                Err(error) => return Err(error),
            }
        }
    };
    let plugin = core.start(Plugin::builder("demo", "1.0.0").action("fill", 1, filler));
    let mut link = core.ready();
    let (status, counts) = link.call(1, b"");
    assert_eq!(status, 200);
    let sent = counts["sent"].as_u64().unwrap();
    assert!(counts["waiting"].as_u64().unwrap() > 100 && sent > 100);
    let mut peer = Peer::new(&core, "peer");
    let mut last = 0;
    for _ in 0..sent {
        let (_, timestamp, _) = peer.receive();
        assert!(timestamp > last);
        last = timestamp;
    }
    link.shut_down(plugin);
}

#[test]
fn a_request_has_a_maximum_timeout() {
    let (_core, mut link, plugin) = run(&["peer"], demo());
    assert_eq!(link.call(12, b"").0, 400);
    link.shut_down(plugin);
}

#[test]
fn an_unknown_target_is_status_404() {
    let (_core, mut link, plugin) = run(&["analytics"], demo());
    let (status, error) = link.call(7, b"\"analitics\"");
    assert_eq!((status, &error["code"]), (404, &json!(10001)));
    assert!(error["message"].as_str().unwrap().contains("\"analytics\""), "{error}");
    link.shut_down(plugin);
}

#[test]
fn a_plugin_reconnects_to_a_new_core() {
    let (mut core, link, plugin) = run(&["peer"], demo());
    core.close();
    drop(link);
    core.listen();
    let mut link = core.ready();
    assert_eq!(link.call(1, b"1"), (200, json!({"got": 1})));
    link.shut_down(plugin);
}

#[test]
fn a_core_that_dies_right_after_a_reconnect_is_replaced_by_the_next() {
    let (mut core, link, plugin) = run(&[], demo());
    core.close();
    drop(link);
    core.listen();
    core.accept().register_and_die();
    let mut link = core.ready();
    assert_eq!(link.call(1, b"1"), (200, json!({"got": 1})));
    link.shut_down(plugin);
}

/// Ends the core while the handler of the first message runs, which signals SLEEPING and returns `result`; all answers.
fn answers_without_a_core(result: fn() -> Result<(), Error>, others: &[(u8, u64)]) -> Vec<Value> {
    let mut core = FakeCore::new("demo", &["peer"]);
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let plugin = core.start(demo().on_message(12, move |ctx, _| {
        ctx.send_signal(Signal::Sleeping, b"")?;
        gate.lock().unwrap().recv().unwrap();
        result()
    }));
    let mut link = core.ready();
    let mut peer = Peer::new(&core, "peer");
    let mut messages = peer.message(12, 1, &json!({}));
    for (message_type, timestamp) in others {
        messages.extend(peer.message(*message_type, *timestamp, &json!({})));
    }
    peer.write(&messages);
    assert_eq!(link.signal().0, Signal::Sleeping);
    core.close();
    drop(link);
    release.send(()).unwrap();
    core.listen();
    let link = core.ready();
    let answers = (0..=others.len()).map(|_| peer.receive().2).collect();
    link.shut_down(plugin);
    answers
}

#[test]
fn a_failed_message_is_answered_without_a_core() {
    let answers = answers_without_a_core(|| Err(Error::fail(409, "not now")), &[]);
    assert_eq!(answers, [json!({"in_reply_to": 1, "status": 409, "error": "not now"})]);
}

#[test]
fn messages_that_were_read_during_sleep_are_handled_without_a_core() {
    let answers = answers_without_a_core(|| Ok(()), &[(9, 2), (9, 3)]);
    let answered: Vec<_> = answers.iter().map(|answer| answer["in_reply_to"].as_u64().unwrap()).collect();
    assert_eq!(answered, [1, 2, 3]);
}

#[test]
fn a_plugin_ends_after_the_reconnect_timeout() {
    let (mut core, link, plugin) = run(&[], demo().reconnect_timeout(Duration::from_millis(50)));
    core.close();
    drop(link);
    assert!(plugin.join().unwrap().is_err());
}

#[test]
fn a_call_or_a_message_ends_light_sleep() {
    let core = FakeCore::new("demo", &["peer"]);
    let (sleeps, slept) = std::sync::mpsc::channel();
    let sleeps = std::sync::Mutex::new(sleeps);
    let plugin = demo().sleep(Sleep::Light(Duration::from_millis(30))).on_sleep(move |_| {
        sleeps.lock().unwrap().send(()).unwrap();
        Ok(())
    });
    let plugin = core.start(plugin);
    let mut link = core.ready();
    assert_eq!(link.signal().0, Signal::Sleeping);
    slept.recv().unwrap();
    link.send_signal(Signal::HealthCheck);
    assert_eq!(link.signal().0, Signal::Sleeping);
    link.send(1, b"1", 0);
    assert_eq!(link.signal().0, Signal::Ready);
    assert_eq!(link.answer_of(1).0, 200);
    assert_eq!(link.signal().0, Signal::Sleeping);
    Peer::new(&core, "peer").send(10, 1, &json!({}));
    assert_eq!(link.signal().0, Signal::Ready);
    assert_eq!(link.signal().0, Signal::Sleeping);
    link.shut_down(plugin);
}

#[test]
fn deep_sleep_ends_the_process_and_loses_no_call() {
    let mut core = FakeCore::new("demo", &[]);
    core.answer["sleep"] = json!({"after": 0.03, "mode": "deep"});
    let plugin = core.start(demo());
    let mut link = core.ready();
    assert_eq!(link.signal().0, Signal::Sleeping);
    link.send(1, b"1", 0); // the core had not read SLEEPING yet
    link.register();
    assert_eq!(link.signal().0, Signal::Ready);
    assert_eq!(link.answer_of(1).0, 200);
    assert_eq!(link.signal().0, Signal::Sleeping);
    link.register();
    assert!(link.try_frame().is_none());
    plugin.join().unwrap().unwrap();
}

#[test]
fn a_health_check_does_not_prevent_deep_sleep() {
    let mut core = FakeCore::new("demo", &[]);
    core.answer["sleep"] = json!({"after": 0.03, "mode": "deep"});
    let plugin = core.start(demo());
    let mut link = core.ready();
    assert_eq!(link.signal().0, Signal::Sleeping);
    link.send_signal(Signal::HealthCheck); // the core had not read SLEEPING yet
    link.register();
    assert_eq!(link.signal().0, Signal::Sleeping);
    link.register();
    assert!(link.try_frame().is_none());
    plugin.join().unwrap().unwrap();
}

#[test]
fn concurrent_calls_run_at_the_same_time() {
    let core = FakeCore::new("demo", &["peer"]);
    let barrier = std::sync::Barrier::new(2);
    let meet = move |_: &reed_plugin::Context<'_>, _: &reed_plugin::Input<'_>| {
        barrier.wait();
        Ok(json!("met"))
    };
    let plugin = core.start(demo().action("meet", 20, meet).concurrency(2));
    let mut first = core.ready();
    let mut second = core.accept();
    second.register();
    first.send(20, b"", 0);
    second.send(20, b"", 0);
    assert_eq!(first.answer_of(20), (200, json!("met")));
    assert_eq!(second.answer_of(20), (200, json!("met")));
    let mut peer = Peer::new(&core, "peer");
    second.send(6, b"1", 0); // a request from a thread other than the main thread
    let (_, timestamp, _) = peer.receive();
    peer.send(9, 1, &json!({})); // handled by the main thread, whichever thread reads it
    assert_eq!(peer.receive().0, 0xF2);
    peer.send(0xF2, 2, &json!({"in_reply_to": timestamp, "data": 2}));
    assert_eq!(second.answer_of(6), (200, json!(2)));
    first.shut_down(plugin);
    assert!(second.try_frame().is_none());
}

#[test]
fn a_health_check_opens_new_fifos() {
    let (mut core, mut link, plugin) = run(&[], demo());
    core.make_pair("late");
    link.send_signal(Signal::HealthCheck);
    assert_eq!(link.signal().0, Signal::Ready);
    let mut late = Peer::new(&core, "late");
    late.send(9, 1, &json!({}));
    assert_eq!(late.receive().2["data"], json!({"from": "late"}));
    link.shut_down(plugin);
}

#[test]
fn in_a_sandbox_hard_links_list_the_other_plugins() {
    let core = FakeCore::new("demo", &["peer", "hidden"]);
    let links = core.folder.join("peers/demo");
    std::fs::create_dir_all(links.join("from")).unwrap();
    std::fs::create_dir_all(links.join("to")).unwrap();
    std::fs::hard_link(core.fifo("peer", "demo"), links.join("from/peer")).unwrap();
    std::fs::hard_link(core.fifo("demo", "peer"), links.join("to/peer")).unwrap();
    let plugin = core.start(demo());
    let mut link = core.ready();
    let mut peer = Peer::new(&core, "peer");
    let hidden = Peer::new(&core, "hidden");
    hidden.send(9, 1, &json!({}));
    peer.send(9, 1, &json!({}));
    assert_eq!(peer.receive().0, 0xF2);
    assert!(!hidden.is_readable(Duration::ZERO), "only linked FIFOs are read");
    let (status, error) = link.call(7, b"\"pear\"");
    assert_eq!(status, 404);
    assert!(error["message"].as_str().unwrap().contains("\"peer\""), "{error}");
    link.shut_down(plugin);
}
