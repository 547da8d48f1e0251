//! A codec of the user's own: the same traits, the same limits, its own bytes.

use rpc_core::codec::*;

use crate::samples::*;

/// JSON, each byte of it turned around.
#[derive(Debug)]
struct Inverted(u8);

fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

impl CustomCodec for Inverted {
    fn id(&self) -> CodecId {
        CodecId::from_number(self.0).unwrap()
    }
    fn name(&self) -> &str {
        "inverted"
    }
    fn encode(&self, value: &dyn ErasedSerialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let json = serde_json::to_vec(value).map_err(CodecError::encode)?;
        out.extend(inverted(&json));
        Ok(())
    }
    fn decode(&self, body: &[u8], visit: Visit<'_>) -> Result<(), CodecError> {
        let json = inverted(body);
        let mut json = serde_json::Deserializer::from_slice(&json);
        json.disable_recursion_limit();
        visit(&mut <dyn ErasedDeserializer<'_>>::erase(&mut json)).map_err(CodecError::decode)?;
        json.end().map_err(CodecError::decode)
    }
}

fn codec() -> Codec {
    Codec::custom(Inverted(200)).unwrap()
}

#[test]
fn s1_3_a_codec_of_ones_own_carries_values_and_arguments() {
    let codec = codec();
    assert_eq!((codec.id().number(), codec.name()), (200, "inverted"));
    let body = encoded(&codec, &example());
    assert_eq!(body, inverted(&encoded(&Codec::Json, &example())));
    assert_eq!(decoded::<Everything>(&codec, &body).unwrap(), example());

    let mut body = Vec::new();
    let arguments = (&1_u8, ByteString(b"xy"));
    codec
        .encode_arguments(&["a", "b"], &arguments, &mut body)
        .unwrap();
    assert_eq!(body, inverted(br#"{"a":1,"b":[120,121]}"#));
    let back: (u8, Vec<u8>) = codec
        .decode_arguments(&["a", "b"], &body, &DecodeLimits::default())
        .unwrap();
    assert_eq!(back, (1, b"xy".to_vec()));
}

#[test]
fn s1_3_its_errors_say_what_and_where() {
    let error = decoded::<Wrapped>(&codec(), &inverted(b"\"x\"")).unwrap_err();
    assert!(error.is_decode() && !error.is_limit());
    assert!(
        error.to_string().contains("invalid type: string \"x\""),
        "{error}"
    );
    let error = decoded::<Wrapped>(&codec(), &inverted(b"1 1")).unwrap_err();
    assert!(error.to_string().contains("trailing characters"), "{error}");
}

#[test]
fn t3_its_values_are_limited_too() {
    let deep = inverted("[".repeat(100_000).as_bytes());
    assert!(decoded::<Nest>(&codec(), &deep).unwrap_err().is_limit());
    let units = inverted(format!("[{}null]", "null,".repeat(100_000)).as_bytes());
    assert!(decoded::<Vec<()>>(&codec(), &units).unwrap_err().is_limit());
}

#[test]
fn s1_3_an_id_of_the_built_in_codecs_is_refused() {
    let error = Codec::custom(Inverted(2)).unwrap_err();
    assert!(
        error.to_string().contains("`inverted` has the id 2"),
        "{error}"
    );
}

/// Neither asks for the value nor complains; or asks twice.
#[derive(Debug)]
struct Careless(u8);

impl CustomCodec for Careless {
    fn id(&self) -> CodecId {
        CodecId::from_number(201).unwrap()
    }
    fn name(&self) -> &str {
        "careless"
    }
    fn encode(&self, _: &dyn ErasedSerialize, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }
    fn decode(&self, _: &[u8], visit: Visit<'_>) -> Result<(), CodecError> {
        for _ in 0..self.0 {
            let mut json = serde_json::Deserializer::from_slice(b"1");
            visit(&mut <dyn ErasedDeserializer<'_>>::erase(&mut json))
                .map_err(CodecError::decode)?;
        }
        Ok(())
    }
}

#[test]
fn a_careless_codec_is_an_error_and_no_panic() {
    let never = decoded::<u8>(&Codec::custom(Careless(0)).unwrap(), b"").unwrap_err();
    assert!(never.to_string().contains("did not hand over"), "{never}");
    let twice = decoded::<u8>(&Codec::custom(Careless(2)).unwrap(), b"").unwrap_err();
    assert!(twice.to_string().contains("taken before"), "{twice}");
}
