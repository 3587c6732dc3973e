//! Many writes in one go: [`Context::batch`](crate::Context::batch).

use std::cell::RefCell;
use std::fmt;

use serde_json::Value;

use crate::commands::{Pack, Request, refused};
use crate::error::{BatchFailure, Error, Written};
use crate::wire::codes::Command;
use crate::wire::common::Done;
use crate::wire::schema::SchemaBonded;
use crate::wire::snippets::{Record, SnippetWritten};

const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Queues writes for [`Context::batch`](crate::Context::batch). Each method returns the index of its write in the results.
#[derive(Default)]
pub struct Batch(RefCell<Queued>);

#[derive(Default)]
struct Queued {
    requests: Vec<(Command, Vec<u8>)>,
    bytes: usize,
}

impl Batch {
    /// As [`SnippetCommands::create`](crate::SnippetCommands::create).
    pub fn create(&self, snippet_type: &str, name: &str, content: &Value) -> Result<usize, Error> {
        self.add(Pack::create(snippet_type, name, content)?)
    }

    /// As [`SnippetCommands::update`](crate::SnippetCommands::update).
    pub fn update(&self, reference: &str, patch: &Value, if_version: u32) -> Result<usize, Error> {
        self.add(Pack::update(reference, patch, if_version)?)
    }

    /// As [`SnippetCommands::rename`](crate::SnippetCommands::rename).
    pub fn rename(&self, reference: &str, name: &str) -> Result<usize, Error> {
        self.add(Pack::rename(reference, name)?)
    }

    /// As [`SnippetCommands::delete`](crate::SnippetCommands::delete).
    pub fn delete(&self, reference: &str, cascade: bool) -> Result<usize, Error> {
        self.add(Pack::delete(reference, cascade)?)
    }

    /// As [`SnippetCommands::restore`](crate::SnippetCommands::restore).
    pub fn restore(&self, record: &Record, flags: u8) -> Result<usize, Error> {
        self.add(Pack::restore(record, flags)?)
    }

    /// As [`SchemaCommands::bond`](crate::SchemaCommands::bond).
    pub fn bond(&self, parent: &str, child: &str, weight: i32, path: &str) -> Result<usize, Error> {
        self.add(Pack::bond(parent, child, weight, path)?)
    }

    /// As [`SchemaCommands::unbond`](crate::SchemaCommands::unbond).
    pub fn unbond(&self, parent: &str, child: &str) -> Result<usize, Error> {
        self.add(Pack::unbond(parent, child)?)
    }

    /// As [`RegistryCommands::define`](crate::RegistryCommands::define).
    pub fn define(&self, type_name: &str, definition: &Value) -> Result<usize, Error> {
        self.add(Pack::define(type_name, definition)?)
    }

    /// As [`RegistryCommands::delete`](crate::RegistryCommands::delete).
    pub fn delete_type(&self, type_name: &str) -> Result<usize, Error> {
        self.add(Pack::delete_type(type_name)?)
    }

    fn add(&self, request: Pack) -> Result<usize, Error> {
        let mut queued = self.0.borrow_mut();
        queued.bytes += request.payload.len();
        if queued.bytes > MAX_BYTES {
            return Err(Error::TooLarge { size: queued.bytes as u64, limit: MAX_BYTES as u64 });
        }
        queued.requests.push((request.command, request.payload));
        Ok(queued.requests.len() - 1)
    }

    pub(crate) fn send(self, core: &dyn Request) -> Result<Vec<Written>, Error> {
        let requests = self.0.into_inner().requests;
        let mut written = Vec::with_capacity(requests.len());
        let mut failed = Vec::new();
        for (index, (answer, (command, _))) in
            core.request_all(&requests)?.into_iter().zip(&requests).enumerate()
        {
            match answer.and_then(|payload| written_in(*command, &payload)) {
                Ok(outcome) => written.push(Some(outcome)),
                Err(error) => {
                    written.push(None);
                    failed.push(BatchFailure { index, command: format!("{command:?}"), error });
                }
            }
        }
        if failed.is_empty() {
            Ok(written.into_iter().flatten().collect())
        } else {
            Err(Error::Batch { written, failed })
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Batch").field("writes", &self.0.borrow().requests.len()).finish()
    }
}

fn written_in(command: Command, payload: &[u8]) -> Result<Written, Error> {
    match command {
        Command::SchemaBond => {
            let answer = SchemaBonded::unpack(payload)?;
            Ok(Written { status: 201, id: answer.bond_id, warning: String::new() })
        }
        Command::SchemaUnbond | Command::RegistryDefine | Command::RegistryDelete => {
            Ok(Written { status: Done::unpack(payload)?.status, id: String::new(), warning: String::new() })
        }
        _ => {
            let answer = refused(command, SnippetWritten::unpack(payload)?)?;
            Ok(Written { status: answer.status, id: answer.snippet_id, warning: answer.error })
        }
    }
}
