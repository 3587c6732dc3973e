//! Every id of the protocol: commands, flags, signals, message types, error codes.

/// Version of the protocol.
pub const VERSION: u8 = 1;
/// "REED"; travels as `44 45 45 52`.
pub const MAGIC: u32 = 0x5245_4544;
/// "PLMG"; travels as `47 4D 4C 50`.
pub const MESSAGE_MAGIC: u32 = 0x504C_4D47;
/// The longest payload of a frame or a message, in bytes, unless the core says otherwise.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;
/// Actions have ids of their own, from 1 to this.
pub const LAST_ACTION_ID: u8 = 0xEF;

/// Bits of a frame's flags.
pub mod flags {
    /// No response is expected, not even an error.
    pub const ASYNC: u8 = 0x01;
    /// The payload is a [`SignalMessage`](crate::wire::common::SignalMessage); never answered.
    pub const SIGNAL: u8 = 0x02;
    /// To all plugins.
    pub const BROADCAST: u8 = 0x04;
    /// A response, not a request.
    pub const RESPONSE: u8 = 0x08;
    /// The payload is an [`ErrorResponse`](crate::wire::common::ErrorResponse).
    pub const ERROR: u8 = 0x10;
}

/// Commands to the core. F0, F2 and F3 travel on plugin connections in both directions.
#[allow(missing_docs)] // the names are protocol.md's
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    SnippetCreate = 0x01,
    SnippetUpdate = 0x02,
    SnippetDelete = 0x03,
    SnippetGet = 0x04,
    SnippetList = 0x05,
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
    SearchQuery = 0x30,
    SearchIndex = 0x31,
    PluginRegister = 0xF0,
    PluginHealth = 0xF2,
    PluginSignal = 0xF3,
    PluginList = 0xF4,
    PluginStart = 0xF5,
    PluginStop = 0xF6,
    PluginSend = 0xF7,
    PluginReload = 0xF8,
    SystemStats = 0xF9,
}

/// A signal's type: below 0x10 from a plugin to the core, from 0x10 on the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Signal {
    /// The plugin takes calls.
    Ready = 0x01,
    /// The plugin works: calls wait until it is ready again.
    Busy = 0x02,
    /// The plugin sleeps: a call, a message or [`Signal::WakeUp`] wakes it.
    Sleeping = 0x04,
    /// Something went wrong in the plugin; the data say what.
    Error = 0x05,
    /// Finish the calls, close the connection, and end.
    ShutdownGraceful = 0x10,
    /// The settings are others.
    ReloadConfig = 0x12,
    /// Is it alive?
    HealthCheck = 0x13,
    /// Wake from sleep.
    WakeUp = 0x15,
}

impl Signal {
    /// The signal of that type, if there is one.
    pub fn from_u8(signal_type: u8) -> Option<Signal> {
        Some(match signal_type {
            0x01 => Signal::Ready,
            0x02 => Signal::Busy,
            0x04 => Signal::Sleeping,
            0x05 => Signal::Error,
            0x10 => Signal::ShutdownGraceful,
            0x12 => Signal::ReloadConfig,
            0x13 => Signal::HealthCheck,
            0x15 => Signal::WakeUp,
            _ => return None,
        })
    }
}

/// Types of messages between plugins that the protocol names. All others are the plugins' own.
pub mod messages {
    /// ai-core to analytics: keywords were found for a snippet.
    pub const KEYWORD_OPTIMIZED: u8 = 0x01;
    /// analytics to backup: statistics of content.
    pub const CONTENT_ANALYZED: u8 = 0x02;
    /// The answer "received".
    pub const RESPONSE_ACK: u8 = 0xF0;
    /// The answer "failed".
    pub const RESPONSE_ERROR: u8 = 0xF1;
    /// The answer with data.
    pub const RESPONSE_DATA: u8 = 0xF2;

    /// Whether a message of this type answers another.
    pub fn is_answer(message_type: u8) -> bool {
        (RESPONSE_ACK..=RESPONSE_DATA).contains(&message_type)
    }
}

/// ReedCMS error codes.
#[allow(missing_docs)] // the names are protocol.md's
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The code that goes with the status of a plugin's own refusal.
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
