//! The one edge where code and fields of a request become a type.

pub mod broker;
pub mod namesrv;

use super::fields::{FieldError, Fields, WireHeader};
use super::header::{RegisterBrokerRequestHeader, SendForm, SendMessageRequestHeader};
use super::{Command, request_code};

/// Why a request cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Nobody serves this code here.
    #[error(" request type {code} not supported")]
    UnsupportedCode {
        /// The request code.
        code: i32,
    },
    /// A header field is missing or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl From<WireError> for super::Reply {
    fn from(error: WireError) -> Self {
        match error {
            WireError::UnsupportedCode { code } => Self::not_supported(code),
            WireError::Field(field) => field.into(),
        }
    }
}

/// What a request carries besides its body, read from its command.
trait FromCommand<'a>: Sized {
    fn from_command(command: &'a Command) -> Result<Self, FieldError>;
}

impl<H: WireHeader> FromCommand<'_> for H {
    fn from_command(command: &Command) -> Result<Self, FieldError> {
        H::parse(&command.fields)
    }
}

impl FromCommand<'_> for Box<RegisterBrokerRequestHeader> {
    fn from_command(command: &Command) -> Result<Self, FieldError> {
        WireHeader::parse(&command.fields).map(Self::new)
    }
}

impl<'a> FromCommand<'a> for &'a Fields {
    fn from_command(command: &'a Command) -> Result<Self, FieldError> {
        Ok(&command.fields)
    }
}

impl<'a> FromCommand<'a> for SendMessageRequestHeader<'a> {
    fn from_command(command: &'a Command) -> Result<Self, FieldError> {
        let form = match command.code {
            request_code::SEND_MESSAGE | request_code::SEND_REPLY_MESSAGE => SendForm::Long,
            _ => SendForm::Short,
        };
        Self::parse(&command.fields, form)
    }
}

/// Declares the requests a server serves and the only place where it reads their `code` and `extFields`. A row is
/// `CODE = number => Variant(WhatItCarries)`; several codes can mean the same.
macro_rules! requests {
    ($(#[$meta:meta])* pub enum $name:ident $(<$life:lifetime>)? {
        $($($code:ident = $number:literal)|+ => $variant:ident $(($header:ty))?,)+
    }) => {
        use $crate::wire::header::*;

        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name $(<$life>)? {
            $(
                #[doc = concat!($("`", stringify!($code), "` "),+)]
                $variant $(($header))?,
            )+
        }

        /// The codes of these requests.
        pub mod code {
            $($(
                #[doc = concat!("Code of `", stringify!($variant), "`.")]
                pub const $code: i32 = $number;
            )+)+
        }

        /// The codes of all requests.
        pub const CODES: &[i32] = &[$($($number),+),+];

        /// Reads what a command asks for.
        ///
        /// # Errors
        /// An unknown code, or the first field that is missing or wrong.
        pub fn parse $(<$life>)? (
            command: & $($life)? $crate::wire::Command,
        ) -> Result<$name $(<$life>)?, $crate::wire::request::WireError> {
            use $crate::wire::request::{FromCommand, WireError};
            Ok(match command.code {
                $(
                    $($number)|+ =>
                        $name::$variant $((<$header as FromCommand>::from_command(command)?))?,
                )+
                code => return Err(WireError::UnsupportedCode { code }),
            })
        }
    };
}
use requests;
