//! Values in both codecs: the same type, the same value, the same complaint.

use rpc_core::codec::*;
use serde::{Deserialize, Serialize};

use crate::samples::*;

mod account {
    use super::*;

    /// A reply whose fields nobody outside can see.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Account {
        data: String,
        balance: i128,
    }

    impl Account {
        pub(super) fn new(data: &str, balance: i128) -> Self {
            Self {
                data: data.to_owned(),
                balance,
            }
        }
    }
}
use account::Account;

#[test]
fn s0_24_private_fields_arrive() {
    for codec in codecs() {
        let account = Account::new("secret", i128::MIN);
        let body = encoded(&codec, &account);
        assert_eq!(decoded::<Account>(&codec, &body).unwrap(), account);
    }
}

#[test]
fn s0_24_a_missing_field_fails_instead_of_defaulting() {
    let error = decoded::<Account>(&Codec::Json, br#"{"balance":1}"#).unwrap_err();
    assert!(error.is_decode() && !error.is_encode() && !error.is_limit());
    assert!(
        error
            .to_string()
            .ends_with("missing field `data` at line 1 column 13")
    );

    let whole = encoded(&Codec::Bincode, &Account::new("abc", 1));
    let error = decoded::<Account>(&Codec::Bincode, &whole[..4]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the input ends early, at byte 4 of 4")
    );
    let error = decoded::<Account>(&Codec::Bincode, b"").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the input ends early, at byte 0 of 0")
    );
}

#[test]
fn s0_21_values_are_decoded_into_the_declared_type() {
    // The declared type decides: the same JSON is an integer here, a float there, never a map of anything.
    assert_eq!(decoded::<u64>(&Codec::Json, b"7").unwrap(), 7);
    assert_eq!(decoded::<f64>(&Codec::Json, b"7").unwrap(), 7.0);
    assert_eq!(decoded::<Wrapped>(&Codec::Json, b"7").unwrap(), Wrapped(7));
    // Integers above 2^53 are exact.
    let body = encoded(&Codec::Json, &u64::MAX);
    assert_eq!(decoded::<u64>(&Codec::Json, &body).unwrap(), u64::MAX);
}

#[test]
fn s0_21_everything_survives_both_codecs() {
    for codec in codecs() {
        let body = encoded(&codec, &example());
        assert_eq!(decoded::<Everything>(&codec, &body).unwrap(), example());
    }
}

#[test]
fn encoding_appends_and_a_failure_leaves_the_buffer_alone() {
    /// Fails after its first field.
    struct Half;
    impl Serialize for Half {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeSeq};
            let mut seq = serializer.serialize_seq(Some(2))?;
            seq.serialize_element(&1)?;
            Err(S::Error::custom("half way"))
        }
    }
    for codec in codecs() {
        let mut out = b"head".to_vec();
        codec.encode(&true, &mut out).unwrap();
        let length = out.len();
        assert!(out.starts_with(b"head") && length > 4);
        let error = codec.encode(&Half, &mut out).unwrap_err();
        assert!(error.is_encode() && !error.is_decode());
        assert!(error.to_string().starts_with("cannot encode "));
        assert!(error.to_string().ends_with("Half: half way"));
        assert_eq!(out.len(), length);
    }
}

#[test]
fn bincode_needs_to_know_the_length_first() {
    struct Unending;
    impl Serialize for Unending {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::ser::SerializeSeq::end(serializer.serialize_seq(None)?)
        }
    }
    let error = Codec::Bincode
        .encode(&Unending, &mut Vec::new())
        .unwrap_err();
    assert!(
        error.to_string().contains("writes the length first"),
        "{error}"
    );
}

#[test]
fn json_writes_a_float_that_is_not_finite_as_null_which_is_no_float() {
    let body = encoded(&Codec::Json, &f64::NAN);
    assert_eq!(body, b"null");
    assert!(decoded::<f64>(&Codec::Json, &body).is_err());
}

#[test]
fn a_message_quotes_little_of_the_input() {
    let body = format!("{{\"{}\":1}}", "é".repeat(100_000));
    let error = Codec::Json
        .decode_arguments::<(u8,)>(&["a"], body.as_bytes(), &DecodeLimits::default())
        .unwrap_err();
    assert!(error.to_string().len() <= 512 + 64);
    assert!(error.to_string().contains("unknown field `éé"));
}

#[test]
fn ids_and_names_are_the_published_ones() {
    assert_eq!(
        (Codec::Bincode.id().number(), Codec::Bincode.name()),
        (1, "bincode")
    );
    assert_eq!((Codec::Json.id().number(), Codec::Json.name()), (2, "json"));
    assert_eq!(Codec::default().id(), CodecId::BINCODE);
    assert_eq!(CodecId::from_number(0), None);
    let own = CodecId::from_number(200).unwrap();
    assert_eq!(
        (own.to_string(), own.is_custom()),
        ("codec 200".to_owned(), true)
    );
    assert!(!CodecId::from_number(127).unwrap().is_custom());
}
