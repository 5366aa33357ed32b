//! The one spelling of each enum's variants, in the REST API, the database, events and configuration.

/// A name that no variant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown name; one of {0}")]
pub struct UnknownName(pub(crate) &'static str);

/// Gives an enum without fields `ALL`, `as_str`, `Display` and an exact, case-sensitive `FromStr`.
macro_rules! names {
    ($type:ty { $first:ident: $first_name:literal $(, $variant:ident: $name:literal)* $(,)? }) => {
        impl $type {
            /// Every variant, in the order of the declaration.
            pub const ALL: &'static [Self] = &[Self::$first $(, Self::$variant)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_name,
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::name::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $first_name => Ok(Self::$first),
                    $($name => Ok(Self::$variant),)*
                    _ => Err($crate::name::UnknownName(concat!($first_name $(, ", ", $name)*))),
                }
            }
        }
    };
}

pub(crate) use names;

#[cfg(test)]
mod tests {
    use crate::api_key::Environment;
    use crate::quota::{Algorithm, FailureMode, Mode, QuotaKind, Unit};
    use crate::resource::{KeyState, UnpricedModelPolicy};
    use crate::usage::{UsageFormat, UsageSource};
    use crate::window::CalendarUnit;

    #[test]
    fn every_name_reads_back_and_no_other_does() {
        macro_rules! check {
            ($($type:ty),*) => {$(
                for value in <$type>::ALL {
                    assert_eq!(value.as_str().parse::<$type>(), Ok(*value));
                    assert_eq!(value.to_string(), value.as_str());
                }
                assert!("".parse::<$type>().is_err());
                assert!("TOKEN_bucket".parse::<$type>().is_err());
            )*};
        }
        check!(
            Algorithm,
            CalendarUnit,
            Environment,
            FailureMode,
            KeyState,
            Mode,
            QuotaKind,
            Unit,
            UnpricedModelPolicy,
            UsageFormat,
            UsageSource
        );
    }

    #[test]
    fn names_are_those_of_the_rest_api() {
        assert_eq!(Algorithm::SlidingWindow.as_str(), "SLIDING_WINDOW");
        assert_eq!(Unit::NanoUsd.as_str(), "COST");
        assert_eq!(Mode::Shadow.as_str(), "shadow");
        assert_eq!(FailureMode::BoundedOpen.as_str(), "BOUNDED_OPEN");
        assert_eq!(UsageFormat::OpenAi.as_str(), "openai");
        let error = "maybe".parse::<Mode>().expect_err("no such mode");
        assert_eq!(error.to_string(), "unknown name; one of enforce, shadow");
    }
}
