//! on_start, each and batches, with a scripted core; errors with a code and a hint.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{CoreEnd, FakeCore, run, snippet_page, snippet_written};
use reed_plugin::wire::codes::{Command, flags};
use reed_plugin::wire::snippets::{Record, SnippetList};
use reed_plugin::{Error, Plugin, PluginBuilder, Signal, json};

const IDS: [&str; 3] = [
    "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a51",
    "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a52",
    "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a53",
];

fn record(number: usize) -> Record {
    Record {
        id: IDS[number].to_owned(),
        snippet_type: "page".to_owned(),
        semantic_name: format!("p/{number}"),
        version: 1,
        created_at: 1,
        updated_at: 2,
        content: b"{}".to_vec(),
    }
}

fn demo() -> PluginBuilder {
    Plugin::builder("demo", "1.0.0")
        .action("each", 1, |ctx, input| {
            let commands = ctx.snippet();
            let found = match input.decoded() {
                Some(conditions) => commands.each_where("page", &conditions),
                None => commands.each("page"),
            };
            let names: Result<Vec<_>, Error> = found.map(|each| Ok(each?.name)).collect();
            Ok(json!(names?))
        })
        .action("batch", 2, |ctx, input| {
            let count = input.json()?.as_u64().unwrap_or_default();
            let written = ctx.batch(|batch| {
                for number in 0..count {
                    batch.create("page", &format!("n/{number}"), &json!({"text": "x".repeat(1000)}))?;
                }
                Ok(())
            })?;
            Ok(json!(written.iter().map(|each| each.id.as_str()).collect::<Vec<_>>()))
        })
        .action("cancelled", 3, |ctx, _| {
            ctx.batch(|batch| {
                batch.delete("p/1", false)?;
                Err(Error::fail(422, "no").with_hint("try later").with_code(77))
            })?;
            Ok(())
        })
}

/// Answers the next command, which must be this one.
fn answer(link: &mut CoreEnd, command: Command, payload: &[u8]) -> Vec<u8> {
    let asked = link.frame();
    assert_eq!(asked.command_id, command as u8);
    link.send(asked.command_id, payload, flags::RESPONSE);
    asked.payload
}

#[test]
fn on_start_runs_once_after_ready_and_before_the_first_call() {
    let core = FakeCore::new("demo", &[]);
    let plugin = core.start(demo().on_start(|ctx| {
        ctx.snippet().delete("p/0", false)?;
        Ok(())
    }));
    let mut link = core.accept();
    link.register();
    assert_eq!(link.signal().0, Signal::Ready);
    link.send(2, b"0", 0);
    answer(&mut link, Command::SnippetDelete, &snippet_written(200, IDS[0], ""));
    assert_eq!(link.answer_of(2), (200, json!([])));
    assert_eq!(link.call(2, b"0"), (200, json!([])));
    link.shut_down(plugin);
}

#[test]
fn a_plugin_whose_on_start_fails_ends() {
    let (_core, mut link, plugin) = run(&[], demo().on_start(|_| Err(Error::fail(409, "no template"))));
    assert!(link.try_frame().is_none());
    assert_eq!(plugin.join().unwrap().unwrap_err().to_string(), "on_start: no template");
}

#[test]
fn each_fetches_a_page_when_it_is_needed() {
    let (_core, mut link, plugin) = run(&[], demo());
    link.send(1, b"", 0);
    answer(&mut link, Command::SnippetList, &snippet_page(IDS[1], &[record(0), record(1)]));
    let asked = answer(&mut link, Command::SnippetList, &snippet_page("", &[record(2)]));
    let list = SnippetList::unpack(&asked).unwrap();
    assert_eq!((list.snippet_type.as_str(), list.after.as_str()), ("page", IDS[1]));
    assert_eq!(link.answer_of(1), (200, json!(["p/0", "p/1", "p/2"])));
    link.send(1, br#"{"a":1}"#, 0);
    answer(&mut link, Command::SnippetFind, &snippet_page("", &[record(2)]));
    assert_eq!(link.answer_of(1), (200, json!(["p/2"])));
    link.shut_down(plugin);
}

#[test]
fn a_batch_is_sent_in_one_go_and_its_failures_are_listed() {
    let (_core, mut link, plugin) = run(&[], demo());
    link.send(2, b"3", 0);
    for _ in 0..3 {
        assert_eq!(link.frame().command_id, Command::SnippetCreate as u8); // before any answer
    }
    for id in IDS {
        link.send(Command::SnippetCreate as u8, &snippet_written(201, id, ""), flags::RESPONSE);
    }
    assert_eq!(link.answer_of(2), (200, json!(IDS)));

    link.send(2, b"2", 0);
    answer(&mut link, Command::SnippetCreate, &snippet_written(409, "", "the name is in use"));
    answer(&mut link, Command::SnippetCreate, &snippet_written(201, IDS[0], ""));
    let (status, error) = link.answer_of(2);
    assert_eq!(status, 409);
    let text = error["message"].as_str().unwrap().to_owned();
    assert!(text.contains("1 of the 2 writes of the batch failed, the others hold; write 0: "), "{text}");
    link.shut_down(plugin);
}

#[test]
fn a_batch_beyond_the_socket_buffers_reads_while_it_sends() {
    let (_core, mut link, plugin) = run(&[], demo());
    link.send(2, b"3000", 0);
    for _ in 0..3000 {
        answer(&mut link, Command::SnippetCreate, &snippet_written(201, IDS[0], &"x".repeat(2000)));
    }
    let (status, ids) = link.answer_of(2);
    assert_eq!((status, ids.as_array().map(Vec::len)), (200, Some(3000)));
    link.shut_down(plugin);
}

#[test]
fn a_batch_whose_closure_fails_sends_nothing() {
    let (_core, mut link, plugin) = run(&[], demo());
    assert_eq!(link.call(3, b""), (422, json!({"code": 77, "message": "no; try later"})));
    link.shut_down(plugin);
}

#[test]
fn a_code_and_a_hint_keep_the_status() {
    let error = Error::fail(404, "no form").with_hint("create one");
    assert_eq!(
        (error.status(), error.code(), error.to_string().as_str()),
        (404, 30001, "no form; create one")
    );
    let other = Error::QueueFull { plugin: "a".to_owned(), waiting: 3 }.with_code(5);
    assert_eq!((other.status(), other.code()), (429, 5));
}
