//! Settings of producers and consumers, each said once.

/// Declares what a builder can be told: of each setting its meaning, its type and its default. Makes the struct that
/// holds them, and of the first part the methods of the builder, which has a field `settings`; those of the second part are
/// written by hand.
macro_rules! settings {
    (
        $(#[$about:meta])*
        pub(crate) struct $settings:ident, set by $builder:ident {
            $($(#[$meaning:meta])* $field:ident: $type:ty = $default:expr,)*
        } and otherwise {
            $($other:ident: $other_type:ty = $other_default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub(crate) struct $settings {
            pub(crate) group: String,
            $(pub(crate) $field: $type,)*
            $(pub(crate) $other: $other_type,)*
        }

        impl $settings {
            pub(crate) fn new(group: String) -> Self {
                Self { group, $($field: $default,)* $($other: $other_default,)* }
            }
        }

        impl $builder {
            $(
                $(#[$meaning])*
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.settings.$field = $field;
                    self
                }
            )*
        }
    };
}

pub(crate) use settings;
