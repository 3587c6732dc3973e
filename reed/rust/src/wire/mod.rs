//! BYTES: the wire protocol without any I/O. Bytes in, frames and records out.
//!
//! ```text
//! codes     ids, flags, signals, error codes         fields    how a struct's fields are read and written
//! frames    header + payload, cut out of a stream    message   what travels on a FIFO
//! common, snippets, schema, registry, search, plugins: a record for each payload, with `pack` and `unpack`
//! ```
//!
//! A plugin that only handles calls and messages needs none of this. It is public for programs that speak the
//! protocol themselves: tests, tools, a core of one's own.

pub mod codes;
pub mod common;
pub mod fields;
pub mod frames;
pub mod message;
pub mod plugins;
pub mod registry;
pub mod schema;
pub mod search;
pub mod snippets;
