//! Payloads of the commands on bonds (10 to 12).

use crate::wire::payload::{encoding, payload};

payload! {
    /// SCHEMA_BOND
    #[derive(Clone, Debug, PartialEq, Eq)]
    SchemaBond, "SCHEMA_BOND" {
        /// UUID or semantic name.
        parent: reference,
        /// UUID or semantic name.
        child: reference,
        /// Children are ordered by weight.
        weight: i32,
        /// May be empty; at most 65,535 bytes.
        path: text16,
    }
}

payload! {
    /// The answer to SCHEMA_BOND.
    #[derive(Clone, Debug, PartialEq, Eq)]
    SchemaBonded, "SCHEMA_BOND" {
        /// HTTP status.
        status: u16,
        /// UUID in text form.
        bond_id: reference,
        /// Always empty.
        error: clipped,
    }
}

payload! {
    /// SCHEMA_UNBOND
    #[derive(Clone, Debug, PartialEq, Eq)]
    SchemaUnbond, "SCHEMA_UNBOND" {
        /// UUID or semantic name.
        parent: reference,
        /// UUID or semantic name.
        child: reference,
    }
}

payload! {
    /// SCHEMA_TREE
    #[derive(Clone, Debug, PartialEq, Eq)]
    SchemaTree, "SCHEMA_TREE" {
        /// UUID or semantic name; empty for all roots.
        root: reference,
        /// Levels; 0 for all.
        depth: u8,
    }
}
