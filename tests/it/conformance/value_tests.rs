//! Values, their bytes and their texts, as Java has them.

use highwater::{Headers, Role, Serde, Slot};

use super::value::*;

const SLOT: Slot<'_> = Slot { topic: "t", role: Role::Key };

#[test]
fn doubles_print_as_java_prints_them() {
    let cases = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (21.0, "21.0"),
        (-3.5, "-3.5"),
        (0.001, "0.001"),
        (0.0005, "5.0E-4"),
        (9_999_999.5, "9999999.5"),
        (1e7, "1.0E7"),
        (12_345_678.0, "1.2345678E7"),
        (1e23, "1.0E23"),
        (4.9e-324, "4.9E-324"),
        (f64::MAX, "1.7976931348623157E308"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    for (n, expected) in cases {
        assert_eq!(text(&Val::Double(n)), expected);
    }
    assert_eq!(text(&Val::Double(f64::NAN)), "NaN");
}

#[test]
fn num_reads_short_decimals_and_measures_the_rest() {
    for (given, expected) in
        [("12", 12), ("-7", -7), ("007", 7), ("-", 1), ("", 0), ("+1", 2), ("é", 2), ("1234567890123456789", 19), ("x", 1)]
    {
        assert_eq!(num(&Val::str(given)), expected, "{given}");
    }
    assert_eq!(num(&Val::Double(-2.9)), -2);
    assert_eq!(num(&Val::Bytes(vec![1, 2])), 2);
}

#[test]
fn windowed_keys_have_their_bytes_and_texts() {
    let time = Val::windowed(Val::str("a"), 10, 20, false);
    let serde = ValSerde(Type::TimeWindowed(Box::new(Type::Str), 10));
    let bytes = bytes_of(&time).expect("not null");
    assert_eq!(hex(&bytes), "61000000000000000a");
    assert_eq!(serde.deserialize(&bytes, SLOT, &Headers::default()).expect("reads back"), time);
    assert_eq!((text(&time).as_str(), serde.partition_bytes(&bytes)), ("a@10/20", b"a".as_slice()));
    let session = Val::windowed(Val::Long(1), 2, 3, true);
    let serde = ValSerde(Type::SessionWindowed(Box::new(Type::Long)));
    let bytes = bytes_of(&session).expect("not null");
    assert_eq!(hex(&bytes), "000000000000000100000000000000030000000000000002");
    assert_eq!(serde.deserialize(&bytes, SLOT, &Headers::default()).expect("reads back"), session);
    assert_eq!(serde.partition_bytes(&bytes).len(), 8);
}

#[test]
fn bytes_decode_as_java_decodes_them() {
    let read = |kind, bytes: &[u8]| ValSerde(kind).deserialize(bytes, SLOT, &Headers::default());
    assert_eq!(read(Type::Str, b"a\xff").expect("lossy"), Val::str("a\u{fffd}"));
    assert!(read(Type::Long, &[0; 7]).is_err());
    assert!(read(Type::Int, &[0; 8]).is_err());
    assert_eq!(read(Type::Long, &[0xff; 8]).expect("a long"), Val::Long(-1));
    assert!(ValSerde(Type::Long).serialize(&Val::str("x"), SLOT, &mut Headers::default(), &mut Vec::new()).is_err());
}
