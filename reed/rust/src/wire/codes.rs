//! The ids of the protocol: commands, flags, signals, message types, error codes.

/// The version of the protocol.
pub const VERSION: u8 = 1;
/// "REED"; its bytes are `44 45 45 52`.
pub const MAGIC: u32 = 0x5245_4544;
/// "PLMG"; its bytes are `47 4D 4C 50`.
pub const MESSAGE_MAGIC: u32 = 0x504C_4D47;
/// The maximum payload of a frame or a message in bytes, unless the core is configured otherwise.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;
/// The ids of actions are 1 to this.
pub const LAST_ACTION_ID: u8 = 0xEF;

/// The flags of a frame.
pub mod flags {
    /// There is no response, not even an error.
    pub const ASYNC: u8 = 0x01;
    /// The payload is a [`SignalMessage`](crate::wire::common::SignalMessage); there is no response.
    pub const SIGNAL: u8 = 0x02;
    /// To all plugins.
    pub const BROADCAST: u8 = 0x04;
    /// A response, not a request.
    pub const RESPONSE: u8 = 0x08;
    /// The payload is an [`ErrorResponse`](crate::wire::common::ErrorResponse).
    pub const ERROR: u8 = 0x10;
}

/// An enum of ids of one byte, which can be found by its id.
macro_rules! ids {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $id:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $variant = $id,)*
        }

        impl $name {
            /// The one with that id.
            pub fn from_u8(id: u8) -> Option<$name> {
                match id {
                    $($id => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

ids! {
    /// Commands of the core. It sends F2 and F3 to plugins as well.
    #[allow(missing_docs)] // the names are protocol.md's
    Command {
        SnippetCreate = 0x01,
        SnippetUpdate = 0x02,
        SnippetDelete = 0x03,
        SnippetGet = 0x04,
        SnippetList = 0x05,
        SnippetWatch = 0x06,
        SnippetFind = 0x07,
        SnippetRestore = 0x08,
        SnippetRename = 0x09,
        SnippetNames = 0x0A,
        SchemaBond = 0x10,
        SchemaUnbond = 0x11,
        SchemaTree = 0x12,
        RegistryDefine = 0x20,
        RegistryGet = 0x21,
        RegistryList = 0x22,
        RegistryCheck = 0x23,
        RegistryDelete = 0x24,
        SearchQuery = 0x30,
        SearchIndex = 0x31,
        PluginRegister = 0xF0,
        ConnectionAssume = 0xF1,
        PluginHealth = 0xF2,
        PluginSignal = 0xF3,
        PluginList = 0xF4,
        PluginStart = 0xF5,
        PluginStop = 0xF6,
        PluginSend = 0xF7,
        PluginReload = 0xF8,
        SystemStats = 0xF9,
        PluginRunSchedule = 0xFA,
    }
}

ids! {
    /// Signals: below 0x10 from a plugin to the core, from 0x10 on from the core to a plugin.
    Signal {
        /// The plugin accepts calls.
        Ready = 0x01,
        /// The plugin is busy: the core holds calls back until READY.
        Busy = 0x02,
        /// The plugin sleeps; a call, a message or [`Signal::WakeUp`] wakes it.
        Sleeping = 0x04,
        /// Something failed in the plugin; the data are the text of the error.
        Error = 0x05,
        /// The plugin must finish its calls, close the connection, and end.
        ShutdownGraceful = 0x10,
        /// The settings have changed.
        ReloadConfig = 0x12,
        /// The plugin must send its status.
        HealthCheck = 0x13,
        /// The plugin must wake up.
        WakeUp = 0x15,
    }
}

/// The message types that ReedCMS defines. Plugins define all others.
pub mod messages {
    /// From ai-core to analytics: the keywords of a snippet.
    pub const KEYWORD_OPTIMIZED: u8 = 0x01;
    /// From analytics to backup: the statistics of a snippet.
    pub const CONTENT_ANALYZED: u8 = 0x02;
    /// An answer: the message was handled.
    pub const RESPONSE_ACK: u8 = 0xF0;
    /// An answer: the handler failed.
    pub const RESPONSE_ERROR: u8 = 0xF1;
    /// An answer: the result of the handler.
    pub const RESPONSE_DATA: u8 = 0xF2;

    /// Whether this is the type of an answer.
    pub fn is_answer(message_type: u8) -> bool {
        (RESPONSE_ACK..=RESPONSE_DATA).contains(&message_type)
    }
}

/// ReedCMS error codes.
#[allow(missing_docs)] // the names are protocol.md's
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum ErrorCode {
    PluginNotFound = 10001,
    PluginOffline = 10002,
    PluginTimeout = 10003,
    PermissionDenied = 10004,
    PluginCrashed = 10005,
    PluginBusy = 10006,
    ActionNotFound = 10007,
    Malformed = 20001,
    Version = 20002,
    UnknownCommand = 20003,
    TooLarge = 20004,
    NotFound = 30001,
    Conflict = 30002,
    Invalid = 30003,
    StoreFull = 40001,
    Store = 40002,
    Internal = 50000,
}

impl ErrorCode {
    /// The code for an HTTP status.
    pub fn of_status(status: u16) -> ErrorCode {
        match status {
            400 => ErrorCode::Malformed,
            403 => ErrorCode::PermissionDenied,
            404 => ErrorCode::NotFound,
            409 => ErrorCode::Conflict,
            413 => ErrorCode::TooLarge,
            422 => ErrorCode::Invalid,
            429 => ErrorCode::PluginBusy,
            503 => ErrorCode::PluginOffline,
            504 => ErrorCode::PluginTimeout,
            _ => ErrorCode::Internal,
        }
    }
}
