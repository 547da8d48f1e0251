//! Arguments of a call: a tuple here, a struct with named fields on the wire.

use std::borrow::Cow;

use bytes::Bytes;
use rpc_core::codec::*;

use crate::samples::codecs;

/// What generated code does with one argument.
macro_rules! wire {
    ($value:expr) => {
        (&Argument($value)).wire()
    };
}

fn sent<A: EncodeArguments>(
    codec: &Codec,
    names: &'static [&'static str],
    arguments: &A,
) -> Vec<u8> {
    let mut body = Vec::new();
    codec.encode_arguments(names, arguments, &mut body).unwrap();
    body
}

fn received<A: DecodeArguments>(
    codec: &Codec,
    names: &'static [&'static str],
    body: &[u8],
) -> Result<A, String> {
    codec
        .decode_arguments(names, body, &DecodeLimits::default())
        .map_err(|error| error.to_string())
}

#[test]
fn arguments_are_fields_one_after_the_other_or_an_object() {
    let arguments = (&1_u32, "two");
    let names = &["a", "b"];
    assert_eq!(sent(&Codec::Bincode, names, &arguments), b"\x01\x03two");
    assert_eq!(
        sent(&Codec::Json, names, &arguments),
        br#"{"a":1,"b":"two"}"#
    );
    for codec in codecs() {
        let body = sent(&codec, names, &arguments);
        let back: (u32, String) = received(&codec, names, &body).unwrap();
        assert_eq!(back, (1, "two".to_owned()));
    }
}

#[test]
fn no_arguments_are_nothing_or_an_empty_object() {
    assert_eq!(sent(&Codec::Bincode, &[], &()), b"");
    assert_eq!(sent(&Codec::Json, &[], &()), b"{}");
    for body in [&b""[..], b"{}", b"[]"] {
        received::<()>(&Codec::Json, &[], body).unwrap();
    }
    received::<()>(&Codec::Bincode, &[], b"").unwrap();
    assert!(received::<()>(&Codec::Bincode, &[], b"\0").is_err());
}

#[test]
fn twelve_arguments_are_the_most() {
    const NAMES: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    type Twelve = (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8);
    let twelve: Twelve = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    for codec in codecs() {
        let body = sent(&codec, NAMES, &twelve);
        assert_eq!(received::<Twelve>(&codec, NAMES, &body), Ok(twelve));
    }
}

#[test]
fn byte_strings_are_recognised_by_type_and_not_by_spelling() {
    type Blob = Vec<u8>;
    let (blob, maybe, number): (Blob, Option<Blob>, u16) = (vec![1, 2], Some(vec![3]), 4);
    let slice: &[u8] = &[5];
    let seventh = Bytes::from_static(&[7]);
    let (lent, shared) = (Cow::Borrowed(&[6][..]), Cow::Borrowed(&seventh));
    let names = &["blob", "maybe", "number", "slice", "lent", "shared", "text"];
    let bytes: (
        ByteString<'_>,
        Option<ByteString<'_>>,
        &u16,
        ByteString<'_>,
        ByteString<'_>,
        SharedString<'_>,
        &str,
    ) = (
        wire!(&blob),
        wire!(&maybe),
        wire!(&number),
        wire!(slice),
        wire!(&lent),
        wire!(&shared),
        wire!("eight"),
    );
    let plain = (&blob, &maybe, &number, slice, &lent, &shared, "eight");
    for codec in codecs() {
        let body = sent(&codec, names, &bytes);
        assert_eq!(body, sent(&codec, names, &plain), "{codec:?}");
        type Received = (
            Blob,
            Option<Blob>,
            u16,
            Blob,
            Cow<'static, [u8]>,
            Cow<'static, Bytes>,
            String,
        );
        let back: Received = received(&codec, names, &body).unwrap();
        assert_eq!(
            back,
            (
                blob.clone(),
                maybe.clone(),
                number,
                vec![5],
                lent.clone().into_owned().into(),
                Cow::Owned(seventh.clone()),
                "eight".to_owned()
            )
        );
    }
}

#[test]
fn s1_3_a_json_object_may_list_arguments_in_any_order() {
    let names = &["a", "b"];
    for body in [r#"{"a":1,"b":"x"}"#, r#"{"b":"x","a":1}"#, r#"[1,"x"]"#] {
        let back: (u32, String) = received(&Codec::Json, names, body.as_bytes()).unwrap();
        assert_eq!(back, (1, "x".to_owned()), "{body}");
    }
}

#[test]
fn s0_24_a_wrong_argument_is_named() {
    type Arguments = (u32, Option<String>);
    let names = &["count", "label"];
    let table = [
        (r#"{"count":1}"#, "missing field `label`"),
        (r#"{"label":null}"#, "missing field `count`"),
        (r#"{}"#, "missing field `count`"),
        (r#"[1]"#, "missing field `label`"),
        (
            r#"{"count":1,"label":null,"count":2}"#,
            "duplicate field `count`",
        ),
        (
            r#"{"count":1,"label":null,"size":2}"#,
            "unknown field `size`",
        ),
        (
            r#"{"count":"1","label":null}"#,
            "argument `count`: invalid type: string",
        ),
        (
            r#"{"count":1,"label":7}"#,
            "argument `label`: invalid type: integer `7`",
        ),
        (r#"[1,null,3]"#, "trailing characters at line 1 column 9"),
        (r#"{"count":1,"label":null} x"#, "trailing characters"),
        (r#"7"#, "expected the arguments count, label"),
        ("", "EOF while parsing a value"),
    ];
    for (body, reason) in table {
        let error = received::<Arguments>(&Codec::Json, names, body.as_bytes()).unwrap_err();
        assert!(
            error.starts_with("cannot decode the arguments: "),
            "{body}: {error}"
        );
        assert!(error.contains(reason), "{body}: {error}");
    }
    let error = received::<Arguments>(&Codec::Bincode, names, &[1, 2]).unwrap_err();
    assert_eq!(
        error,
        "cannot decode the arguments: argument `label`: an option is neither 0 nor 1, at byte 2 of 2"
    );
    let error = received::<Arguments>(&Codec::Bincode, names, &[1]).unwrap_err();
    assert_eq!(
        error,
        "cannot decode the arguments: argument `label`: the input ends early, at byte 1 of 1"
    );
}

#[test]
fn names_and_arguments_that_differ_in_number_are_an_error() {
    for codec in codecs() {
        let mut body = vec![9];
        let error = codec
            .encode_arguments(&["a"], &(1, 2), &mut body)
            .unwrap_err();
        assert!(error.is_encode(), "{error}");
        assert!(
            error.to_string().contains("1 names for 2 arguments"),
            "{error}"
        );
        assert_eq!(body, [9]);
        let error = received::<(u8, u8)>(&codec, &["a"], &[1, 2]).unwrap_err();
        assert!(error.contains("1 names for 2 arguments"), "{error}");
    }
}

#[test]
fn s1_1_arguments_without_names_travel_in_order() {
    let limits = DecodeLimits::default();
    let names = &["a", "b"];
    for codec in [Codec::Bincode, Codec::Json] {
        let (mut unnamed, mut body) = (Vec::new(), Vec::new());
        codec
            .encode_arguments(&[], &(&1_u8, &"x"), &mut unnamed)
            .unwrap();
        codec
            .encode_arguments(names, &(&1_u8, &"x"), &mut body)
            .unwrap();
        let expected = (1_u8, "x".to_owned());
        for names in [&[][..], names] {
            let decoded = codec.decode_arguments::<(u8, String)>(names, &unnamed, &limits);
            assert_eq!(decoded.unwrap(), expected, "{codec:?} {names:?}");
        }
        let one = codec.decode_arguments::<(u8,)>(&[], &unnamed, &limits);
        one.expect_err("one of two arguments was not decoded");
        let three = codec.decode_arguments::<(u8, String, u8)>(&[], &unnamed, &limits);
        three.expect_err("an argument is missing");
        if matches!(codec, Codec::Bincode) {
            assert_eq!(unnamed, body);
        }
    }
}
