//! Declares the payload of a command or response once: a struct of which each field has an encoding.
//!
//! `semantic_name: name` is a public field `semantic_name` of the type `String`, which stands as 32 bytes in the payload.

/// One row for each encoding: the type of the field, how it is written, how it is read. Anything else is a payload of
/// its own.
macro_rules! encoding {
    (type name) => { String };
    (type reference) => { String };
    (type version) => { String };
    (type text16) => { String };
    (type clipped) => { String };
    (type bytes16) => { Vec<u8> };
    (type bytes32) => { Vec<u8> };
    (type flag) => { bool };
    (type [$item:ident]) => { Vec<$item> };
    (type $other:ident) => { $other };

    (write $writer:ident $value:expr, name) => { $writer.text($value, $crate::wire::fields::NAME)? };
    (write $writer:ident $value:expr, reference) => { $writer.text($value, $crate::wire::fields::REF)? };
    (write $writer:ident $value:expr, version) => { $writer.text($value, $crate::wire::fields::VERSION)? };
    (write $writer:ident $value:expr, text16) => { $writer.tail16($value.as_bytes())? };
    (write $writer:ident $value:expr, clipped) => { $writer.clipped16($value) };
    (write $writer:ident $value:expr, bytes16) => { $writer.tail16($value)? };
    (write $writer:ident $value:expr, bytes32) => { $writer.tail32($value)? };
    (write $writer:ident $value:expr, flag) => { $writer.u8(u8::from(*$value)) };
    (write $writer:ident $value:expr, u8) => { $writer.u8(*$value) };
    (write $writer:ident $value:expr, u16) => { $writer.u16(*$value) };
    (write $writer:ident $value:expr, u32) => { $writer.u32(*$value) };
    (write $writer:ident $value:expr, u64) => { $writer.u64(*$value) };
    (write $writer:ident $value:expr, i32) => { $writer.i32(*$value) };
    (write $writer:ident $value:expr, f32) => { $writer.f32(*$value) };
    (write $writer:ident $value:expr, [$item:ident]) => { $writer.list($value, $item::write)? };
    (write $writer:ident $value:expr, $other:ident) => { $value.write($writer)? };

    (read $reader:ident name) => { $reader.text($crate::wire::fields::NAME)? };
    (read $reader:ident reference) => { $reader.text($crate::wire::fields::REF)? };
    (read $reader:ident version) => { $reader.text($crate::wire::fields::VERSION)? };
    (read $reader:ident text16) => { $reader.text16()? };
    (read $reader:ident clipped) => { $reader.text16()? };
    (read $reader:ident bytes16) => { $reader.bytes16()? };
    (read $reader:ident bytes32) => { $reader.bytes32()? };
    (read $reader:ident flag) => { $reader.flag()? };
    (read $reader:ident u8) => { $reader.u8()? };
    (read $reader:ident u16) => { $reader.u16()? };
    (read $reader:ident u32) => { $reader.u32()? };
    (read $reader:ident u64) => { $reader.u64()? };
    (read $reader:ident i32) => { $reader.i32()? };
    (read $reader:ident f32) => { $reader.f32()? };
    (read $reader:ident [$item:ident]) => { $reader.list($item::read)? };
    (read $reader:ident $other:ident) => { $other::read($reader)? };
}

/// `what` names the payload in errors.
macro_rules! payload {
    ($(#[$about:meta])* $name:ident, $what:literal { $($(#[$doc:meta])* $field:ident: $encoding:tt,)* }) => {
        $(#[$about])*
        pub struct $name {
            $($(#[$doc])* pub $field: encoding!(type $encoding),)*
        }

        impl $name {
            /// Encodes the payload.
            pub fn pack(&self) -> Result<Vec<u8>, $crate::error::Error> {
                Ok(self.write($crate::wire::fields::Writer::new())?.done())
            }

            /// Decodes the payload.
            pub fn unpack(payload: &[u8]) -> Result<$name, $crate::error::Error> {
                let mut reader = $crate::wire::fields::Reader::new(payload, $what);
                let found = $name::read(&mut reader)?;
                reader.end()?;
                Ok(found)
            }

            pub(crate) fn write(&self, writer: $crate::wire::fields::Writer) -> Result<$crate::wire::fields::Writer, $crate::error::Error> {
                $(let writer = encoding!(write writer &self.$field, $encoding);)*
                Ok(writer)
            }

            pub(crate) fn read(reader: &mut $crate::wire::fields::Reader<'_>) -> Result<$name, $crate::error::Error> {
                Ok($name { $($field: encoding!(read reader $encoding),)* })
            }
        }
    };
}

pub(crate) use {encoding, payload};
