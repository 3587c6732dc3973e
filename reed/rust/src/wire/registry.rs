//! Payloads of the commands on types (20 to 23).

use crate::wire::payload::{encoding, payload};

payload! {
    /// REGISTRY_DEFINE: a type's name and its definition.
    #[derive(Clone, Debug, PartialEq, Eq)]
    Definition, "REGISTRY_DEFINE" {
        /// a-z, then a-z 0-9 -.
        type_name: name,
        /// JSON.
        definition: bytes32,
    }
}

payload! {
    /// REGISTRY_CHECK: checks a part of a type's snippets against its definition.
    #[derive(Clone, Debug, PartialEq, Eq)]
    RegistryCheck, "REGISTRY_CHECK" {
        /// The name of the type.
        type_name: name,
        /// The cursor of the previous part; empty for the first.
        after: reference,
        /// The number of snippets; 0 for 1000, which is the maximum.
        limit: u32,
    }
}

payload! {
    /// The answer to REGISTRY_GET.
    #[derive(Clone, Debug, PartialEq, Eq)]
    RegistryGot, "REGISTRY_GET" {
        /// HTTP status.
        status: u16,
        /// The type.
        definition: Definition,
    }
}

payload! {
    /// The answer to REGISTRY_LIST.
    #[derive(Clone, Debug, PartialEq, Eq)]
    RegistryPage, "REGISTRY_LIST" {
        /// HTTP status.
        status: u16,
        /// All types.
        definitions: [Definition],
    }
}
