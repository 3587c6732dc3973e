//! A plugin before a core that does what the test says, with real sockets and real FIFOs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may

mod common;

use std::time::Duration;

use common::{FakeCore, Peer};
use reed_plugin::wire::codes::{Command, flags};
use reed_plugin::wire::snippets::{
    Record, SnippetFind, SnippetGot, SnippetPage, SnippetRename, SnippetWritten,
};
use reed_plugin::{Answer, Error, Plugin, Reply, Signal, Sleep, Value, json};

const SOON: Duration = Duration::from_secs(10);

const ID: &str = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b";

fn record() -> Record {
    Record {
        id: ID.to_owned(),
        snippet_type: "page".to_owned(),
        semantic_name: "intro".to_owned(),
        version: 1,
        created_at: 1,
        updated_at: 1,
        content: br#"{"title":"Hi"}"#.to_vec(),
    }
}

fn demo() -> Plugin {
    Plugin::new("demo", "1.0.0")
        .action("echo", 1, |_, input| Ok(json!({"got": input.json()?})))
        .action("panic", 2, |_, _| -> Result<Value, Error> { panic!("at the disco") })
        .action("fail", 3, |_, _| Err::<Value, _>(Error::fail(422, "no title")))
        .action("title", 4, |ctx, input| {
            let name = input.json()?;
            let snippet = ctx.snippet().get(name.as_str().unwrap_or_default())?;
            Ok(json!({"title": snippet.text("title")}))
        })
        .action("settings", 5, |ctx, _| Ok((*ctx.settings()).clone()))
        .action("ask", 6, |ctx, input| ctx.request("peer", 7, &input.json()?, SOON))
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
        .action("made", 8, |_, _| Ok(Reply::from(json!(1)).with_status(201)))
        .on_message(9, |_, message| Ok(json!({"from": message.source})))
        .on_message(10, |_, _| Ok(Answer::None))
        .on_message(11, |_, _| Err::<(), _>(Error::fail(409, "not now")))
}

#[test]
fn it_registers_says_ready_and_answers_calls() {
    let core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let mut line = core.accept();
    let register = line.register();
    assert_eq!((register.name.as_str(), register.version.as_str()), ("demo", "1.0.0"));
    assert_eq!(register.pid, std::process::id());
    let manifest: Value = serde_json::from_slice(&register.manifest).unwrap();
    assert_eq!(manifest["actions"]["echo"]["command_id"], 1);
    assert_eq!(manifest["messages"], json!([9, 10, 11]));
    assert_eq!(line.signal().0, Signal::Ready);

    assert_eq!(line.call(1, b"[1,null]"), (200, json!({"got": [1, null]})));
    assert_eq!(line.call(1, b""), (200, json!({"got": null})));
    assert_eq!(line.call(8, b""), (201, json!(1)));
    assert_eq!(line.call(5, b""), (200, json!({"depth": 3})));
    assert_eq!(line.call(3, b""), (422, json!({"code": 30003, "message": "no title"})));
    assert_eq!(line.call(1, b"{").0, 400);
    let (status, error) = line.call(77, b"");
    assert_eq!((status, &error["code"]), (404, &json!(10007)));
    assert!(error["message"].as_str().unwrap().contains("it has: ask, echo"), "{error}");
    line.shut_down(plugin);
}

#[test]
fn a_socket_path_of_any_length_is_reached() {
    let core = FakeCore::below(&"deep".repeat(50), "demo", &[]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    assert_eq!(line.call(1, b"1"), (200, json!({"got": 1})));
    line.shut_down(plugin);
}

#[test]
fn a_panic_is_that_calls_500_and_the_plugin_lives() {
    let core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    let (status, error) = line.call(2, b"");
    let message = error["message"].as_str().unwrap();
    assert_eq!(status, 500);
    assert!(message.contains("plugin demo, action panic: panicked: at the disco"), "{message}");
    assert_eq!(line.call(1, b"2"), (200, json!({"got": 2})));
    line.shut_down(plugin);
}

#[test]
fn what_comes_while_a_command_waits_is_handled_after_it() {
    let core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    line.send(4, b"\"intro\"", 0);
    let asked = line.frame();
    assert_eq!(asked.command_id, Command::SnippetGet as u8);
    line.send_signal(Signal::HealthCheck);
    line.send(1, b"3", 0);
    let got = SnippetGot { status: 200, record: record() };
    line.send(asked.command_id, &got.pack().unwrap(), flags::RESPONSE);
    assert_eq!(line.answer_of(4), (200, json!({"title": "Hi"})));
    assert_eq!(line.signal().0, Signal::Ready);
    assert_eq!(line.answer_of(1), (200, json!({"got": 3})));
    line.shut_down(plugin);
}

#[test]
fn a_snippet_is_found_by_a_field_and_renamed() {
    let core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    line.send(9, br#"{"path":"a/b"}"#, 0);
    let asked = line.frame();
    assert_eq!(asked.command_id, Command::SnippetFind as u8);
    let find = SnippetFind::unpack(&asked.payload).unwrap();
    assert_eq!((find.snippet_type.as_str(), find.limit, find.after.as_str()), ("page", 1, ""));
    assert_eq!(find.conditions, br#"{"path":"a/b"}"#);
    let page = SnippetPage { status: 200, cursor: ID.to_owned(), records: vec![record()] };
    line.send(asked.command_id, &page.pack().unwrap(), flags::RESPONSE);
    let asked = line.frame();
    assert_eq!(asked.command_id, Command::SnippetRename as u8);
    let rename = SnippetRename::unpack(&asked.payload).unwrap();
    assert_eq!((rename.reference.as_str(), rename.semantic_name.as_str()), (ID, "found"));
    let written = SnippetWritten { status: 200, snippet_id: ID.to_owned(), error: String::new() };
    line.send(asked.command_id, &written.pack().unwrap(), flags::RESPONSE);
    assert_eq!(line.answer_of(9), (200, json!({"id": ID, "after": ID})));
    line.send(9, b"{}", 0);
    let asked = line.frame();
    let page = SnippetPage { status: 200, cursor: String::new(), records: vec![record()] };
    line.send(asked.command_id, &page.pack().unwrap(), flags::RESPONSE);
    let asked = line.frame();
    let written =
        SnippetWritten { status: 409, snippet_id: String::new(), error: "the name is in use".to_owned() };
    line.send(asked.command_id, &written.pack().unwrap(), flags::RESPONSE);
    assert_eq!(line.answer_of(9).0, 409);
    line.shut_down(plugin);
}

#[test]
fn it_answers_signals_and_tells_its_figures() {
    let mut core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo().figures(|| json!({"depth": 9})));
    let mut line = core.ready();
    line.send_signal(Signal::HealthCheck);
    assert_eq!(line.signal().0, Signal::Ready);
    line.send_signal(Signal::WakeUp);
    assert_eq!(line.signal().0, Signal::Ready);
    core.answer["settings"]["depth"] = json!(4);
    line.answer = core.answer.clone();
    line.send_signal(Signal::ReloadConfig);
    line.register();
    assert_eq!(line.signal().0, Signal::Ready);
    assert_eq!(line.call(5, b""), (200, json!({"depth": 4})));
    line.send(Command::PluginHealth as u8, &[], 0);
    let frame = line.frame();
    let figures: Value = serde_json::from_slice(&frame.payload[6..]).unwrap();
    assert_eq!((&figures["calls"], &figures["own"]), (&json!(1), &json!({"depth": 9})));
    line.shut_down(plugin);
}

#[test]
fn a_request_to_another_plugin_gets_its_answer() {
    let core = FakeCore::new("demo", &["peer"]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    let mut peer = Peer::new(&core, "peer");
    for (kind, body, expected) in [
        (0xF2, json!({"data": [1]}), (200, json!([1]))),
        (0xF0, json!({}), (200, Value::Null)),
        (0xF1, json!({"status": 409, "error": "no"}), (409, json!("a message to peer: 409 no"))),
    ] {
        line.send(6, b"{\"q\":1}", 0);
        let (message_type, timestamp, payload) = peer.receive();
        assert_eq!((message_type, payload), (7, json!({"q": 1})));
        let mut body = body;
        body["in_reply_to"] = json!(timestamp);
        peer.send(0xF0, timestamp, &json!({"in_reply_to": 1})); // of another request
        peer.send(kind, timestamp + 1, &body);
        let (status, answer) = line.answer_of(6);
        let answer = if status == 200 { answer } else { answer["message"].clone() };
        assert_eq!((status, answer), expected);
    }
    line.shut_down(plugin);
}

#[test]
fn a_request_is_sent_again_when_no_answer_comes() {
    let core = FakeCore::new("demo", &["peer"]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    let mut peer = Peer::new(&core, "peer");
    line.send(6, b"5", 0);
    let first = peer.receive();
    let again = peer.receive(); // the first reader died with what it had read
    assert_eq!(first, again);
    peer.send(0xF2, 1, &json!({"in_reply_to": first.1, "data": 6}));
    assert_eq!(line.answer_of(6), (200, json!(6)));
    line.shut_down(plugin);
}

#[test]
fn messages_are_answered_and_repeats_are_not_handled_twice() {
    let core = FakeCore::new("demo", &["peer"]);
    let plugin = core.start(demo());
    let line = core.ready();
    let mut peer = Peer::new(&core, "peer");
    peer.send(10, 50, &json!({})); // wants no answer
    let whole = peer.message(9, 100, &json!({"text": "x".repeat(5000)}));
    peer.write(&whole[..3000]); // the writer dies
    peer.send(9, 101, &json!({}));
    let answer = peer.receive();
    assert_eq!((answer.0, &answer.2), (0xF2, &json!({"in_reply_to": 101, "data": {"from": "peer"}})));
    peer.send(9, 101, &json!({}));
    let again = peer.receive();
    assert_eq!((again.0, &again.2), (answer.0, &answer.2));
    assert!(again.1 > answer.1, "timestamps rise");
    peer.send(11, 102, &json!({}));
    assert_eq!(peer.receive().2, json!({"in_reply_to": 102, "status": 409, "error": "not now"}));
    peer.send(99, 103, &json!({}));
    let (kind, _, body) = peer.receive();
    assert_eq!((kind, &body["status"]), (0xF1, &json!(404)));
    drop(plugin);
    drop(line);
}

#[test]
fn a_full_pipe_queues_and_a_full_queue_is_told() {
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
    let plugin = core.start(Plugin::new("demo", "1.0.0").action("fill", 1, filler));
    let mut line = core.ready();
    let (status, counts) = line.call(1, b"");
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
    line.shut_down(plugin);
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    let core = FakeCore::new("demo", &["analytics"]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    let (status, error) = line.call(7, b"\"analitics\"");
    let message = error["message"].as_str().unwrap();
    assert_eq!((status, &error["code"]), (404, &json!(10001)));
    assert!(message.contains("did you mean \"analytics\"?"), "{message}");
    line.shut_down(plugin);
}

#[test]
fn it_finds_a_new_core() {
    let mut core = FakeCore::new("demo", &["peer"]);
    let plugin = core.start(demo());
    let line = core.ready();
    core.vanish();
    drop(line);
    core.listen();
    let mut line = core.ready();
    assert_eq!(line.call(1, b"1"), (200, json!({"got": 1})));
    line.shut_down(plugin);
}

#[test]
fn a_core_that_dies_at_once_is_followed_by_the_next_one() {
    let mut core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let line = core.ready();
    core.vanish();
    drop(line);
    core.listen();
    core.accept().register_and_die();
    let mut line = core.ready();
    assert_eq!(line.call(1, b"1"), (200, json!({"got": 1})));
    line.shut_down(plugin);
}

/// The core goes while the handler of the first message runs, which says SLEEPING and ends so; all answers.
fn messages_beside_a_core_that_goes(ends: fn() -> Result<(), Error>, others: &[(u8, u64)]) -> Vec<Value> {
    let mut core = FakeCore::new("demo", &["peer"]);
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let plugin = core.start(demo().on_message(12, move |ctx, _| {
        ctx.send_signal(Signal::Sleeping, b"")?;
        gate.lock().unwrap().recv().unwrap();
        ends()
    }));
    let mut line = core.ready();
    let mut peer = Peer::new(&core, "peer");
    let mut messages = peer.message(12, 1, &json!({}));
    for (message_type, timestamp) in others {
        messages.extend(peer.message(*message_type, *timestamp, &json!({})));
    }
    peer.write(&messages);
    assert_eq!(line.signal().0, Signal::Sleeping);
    core.vanish();
    drop(line);
    go_on.send(()).unwrap();
    core.listen();
    let line = core.ready();
    let answers = (0..=others.len()).map(|_| peer.receive().2).collect();
    line.shut_down(plugin);
    answers
}

#[test]
fn a_message_that_fails_is_answered_though_the_core_is_gone() {
    let answers = messages_beside_a_core_that_goes(|| Err(Error::fail(409, "not now")), &[]);
    assert_eq!(answers, [json!({"in_reply_to": 1, "status": 409, "error": "not now"})]);
}

#[test]
fn what_a_sleeper_has_read_is_handled_though_the_core_is_gone() {
    let answers = messages_beside_a_core_that_goes(|| Ok(()), &[(9, 2), (9, 3)]);
    let answered: Vec<_> = answers.iter().map(|answer| answer["in_reply_to"].as_u64().unwrap()).collect();
    assert_eq!(answered, [1, 2, 3]);
}

#[test]
fn it_ends_when_no_core_comes_back() {
    let mut core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo().patience(Duration::from_millis(50)));
    let line = core.ready();
    core.vanish();
    drop(line);
    assert!(plugin.join().unwrap().is_err());
}

#[test]
fn light_sleep_stays_and_a_call_or_a_message_wakes_it() {
    let core = FakeCore::new("demo", &["peer"]);
    let (told, slept) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let plugin = demo().sleep(Sleep::Light(Duration::from_millis(30))).on_sleep(move |_| {
        told.lock().unwrap().send(()).unwrap();
        Ok(())
    });
    let plugin = core.start(plugin);
    let mut line = core.ready();
    assert_eq!(line.signal().0, Signal::Sleeping);
    slept.recv().unwrap();
    line.send_signal(Signal::HealthCheck);
    assert_eq!(line.signal().0, Signal::Sleeping);
    line.send(1, b"1", 0);
    assert_eq!(line.signal().0, Signal::Ready);
    assert_eq!(line.answer_of(1).0, 200);
    assert_eq!(line.signal().0, Signal::Sleeping);
    Peer::new(&core, "peer").send(10, 1, &json!({}));
    assert_eq!(line.signal().0, Signal::Ready);
    assert_eq!(line.signal().0, Signal::Sleeping);
    line.shut_down(plugin);
}

#[test]
fn deep_sleep_ends_the_process_but_loses_no_call() {
    let mut core = FakeCore::new("demo", &[]);
    core.answer["sleep"] = json!({"after": 0.03, "mode": "deep"});
    let plugin = core.start(demo());
    let mut line = core.ready();
    assert_eq!(line.signal().0, Signal::Sleeping);
    line.send(1, b"1", 0); // was under way when it fell asleep
    line.register();
    assert_eq!(line.signal().0, Signal::Ready);
    assert_eq!(line.answer_of(1).0, 200);
    assert_eq!(line.signal().0, Signal::Sleeping);
    line.register();
    assert!(line.try_frame().is_none());
    plugin.join().unwrap().unwrap();
}

#[test]
fn a_health_check_on_the_way_to_deep_sleep_is_answered_and_it_leaves() {
    let mut core = FakeCore::new("demo", &[]);
    core.answer["sleep"] = json!({"after": 0.03, "mode": "deep"});
    let plugin = core.start(demo());
    let mut line = core.ready();
    assert_eq!(line.signal().0, Signal::Sleeping);
    line.send_signal(Signal::HealthCheck); // crosses SLEEPING: the core had not read it yet
    line.register();
    assert_eq!(line.signal().0, Signal::Sleeping);
    line.register();
    assert!(line.try_frame().is_none(), "it leaves");
    plugin.join().unwrap().unwrap();
}

#[test]
fn workers_take_calls_at_the_same_time() {
    let core = FakeCore::new("demo", &["peer"]);
    let barrier = std::sync::Barrier::new(2);
    let meet = move |_: &reed_plugin::Context<'_>, _: &reed_plugin::Input<'_>| {
        barrier.wait();
        Ok(json!("met"))
    };
    let plugin = core.start(demo().action("meet", 20, meet).workers(2));
    let mut first = core.ready();
    let mut second = core.accept();
    second.register();
    first.send(20, b"", 0);
    second.send(20, b"", 0);
    assert_eq!(first.answer_of(20), (200, json!("met")));
    assert_eq!(second.answer_of(20), (200, json!("met")));
    let mut peer = Peer::new(&core, "peer");
    second.send(6, b"1", 0); // a request from a thread beside the main one
    let (_, timestamp, _) = peer.receive();
    peer.send(9, 1, &json!({})); // found by whoever reads, handled by the main thread
    assert_eq!(peer.receive().0, 0xF2);
    peer.send(0xF2, 2, &json!({"in_reply_to": timestamp, "data": 2}));
    assert_eq!(second.answer_of(6), (200, json!(2)));
    first.shut_down(plugin);
    assert!(second.try_frame().is_none());
}

#[test]
fn a_plugin_that_comes_later_is_heard_after_a_health_check() {
    let mut core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo());
    let mut line = core.ready();
    core.make_pair("late");
    line.send_signal(Signal::HealthCheck);
    assert_eq!(line.signal().0, Signal::Ready);
    let mut late = Peer::new(&core, "late");
    late.send(9, 1, &json!({}));
    assert_eq!(late.receive().2["data"], json!({"from": "late"}));
    line.shut_down(plugin);
}

#[test]
fn in_a_sandbox_the_second_names_tell_who_is_there() {
    let core = FakeCore::new("demo", &["peer", "hidden"]);
    let links = core.folder.join("peers/demo");
    std::fs::create_dir_all(links.join("from")).unwrap();
    std::fs::create_dir_all(links.join("to")).unwrap();
    std::fs::hard_link(core.fifo("peer", "demo"), links.join("from/peer")).unwrap();
    std::fs::hard_link(core.fifo("demo", "peer"), links.join("to/peer")).unwrap();
    let plugin = core.start(demo());
    let mut line = core.ready();
    let mut peer = Peer::new(&core, "peer");
    let hidden = Peer::new(&core, "hidden");
    hidden.send(9, 1, &json!({}));
    peer.send(9, 1, &json!({}));
    assert_eq!(peer.receive().0, 0xF2);
    assert!(!hidden.is_readable(Duration::ZERO), "only what is linked is read");
    let (status, error) = line.call(7, b"\"pear\"");
    assert_eq!(status, 404);
    assert!(error["message"].as_str().unwrap().contains("did you mean \"peer\"?"), "{error}");
    line.shut_down(plugin);
}
