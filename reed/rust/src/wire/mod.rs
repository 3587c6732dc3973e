//! The wire protocol without any I/O: ids, frames, messages, and a record for each payload.
//!
//! ```text
//! codes     ids, flags, signals, error codes         fields    how the fields of a struct are encoded
//! frames    header and payload, cut from a stream    message   what is sent through a FIFO
//! common, snippets, schema, registry, search, plugins: the payloads
//! ```
//!
//! `pack` encodes a payload, `unpack` decodes one. Plugins rarely need this module: [`Context`] covers calls, commands
//! and messages; [`Context::command`] takes these payloads.
//!
//! The records have public fields and no `#[non_exhaustive]`: they change only with the version of the protocol.
//!
//! [`Context`]: crate::Context
//! [`Context::command`]: crate::Context::command

pub mod codes;
pub mod common;
pub mod fields;
pub mod frames;
pub mod message;
mod payload;
pub mod plugins;
pub mod registry;
pub mod schema;
pub mod search;
pub mod snippets;
