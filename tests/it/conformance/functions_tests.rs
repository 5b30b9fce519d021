//! The function vocabulary, against its definition.

use super::functions::*;
use super::value::{Type, Val};

fn s(text: &str) -> Val {
    Val::str(text)
}

#[test]
fn predicates_never_hold_for_null_but_all_and_the_thrower() {
    let (key, null) = (s("a"), Val::Null);
    for spec in ["value_not_null", "value_is:null", "value_contains:n", "value_starts:", "value_gt:-1", "value_even", "none"] {
        assert_eq!(predicate(spec)(&key, &null), Ok(false), "{spec}");
    }
    for spec in ["key_not_null", "key_is:null", "key_in:null"] {
        assert_eq!(predicate(spec)(&null, &key), Ok(false), "{spec}");
    }
    assert_eq!(predicate("throw_if:null")(&key, &null), Ok(true));
    assert_eq!(predicate("throw_if:x")(&key, &s("x")), Err(Boom));
    assert_eq!(predicate("value_is:a:b")(&key, &s("a:b")), Ok(true), "the argument may hold colons");
    assert_eq!(predicate("key_in:b,a")(&key, &null), Ok(true));
    assert_eq!(predicate("value_even")(&key, &s("-4")), Ok(true));
}

#[test]
fn mappers_give_values_and_types() {
    let map = |spec: &str, v: Val| mapper(spec, &Type::Str, &Type::Str).apply.as_ref()(&s("k"), &v).expect("does not throw");
    assert_eq!(map("field:1", s("a||c")), s(""));
    assert_eq!(map("field_or_null:1", s("a||c")), Val::Null);
    assert_eq!(map("field:3", s("a||c")), Val::Null);
    assert_eq!(map("null_if:x", s("x")), Val::Null);
    assert_eq!(map("text_or_null", Val::Null), s("null"));
    assert_eq!(map("mod:3", s("-1")), s("m2"));
    assert_eq!(map("to_double", s("5")), Val::Double(2.5));
    assert_eq!(map("add:2", s("5")), Val::Long(7));
    assert_eq!(map("key_value", Val::Null), s("k:null"));
    assert_eq!(map("first_char", s("")), Val::Null);
    assert_eq!(map("to_bytes", s("ab")), Val::Bytes(b"ab".to_vec()));
    assert_eq!(mapper("value", &Type::Str, &Type::Long).kind, Type::Long);
    assert_eq!(mapper("num", &Type::Str, &Type::Str).kind, Type::Long);
}

#[test]
fn pairs_and_flat_maps() {
    let pair = pair_mapper("field:0=>add:1", &Type::Str, &Type::Str);
    assert_eq!((pair.key, pair.value), (Type::Str, Type::Long));
    assert_eq!((pair.apply)(&s("k"), &s("a|b")), Ok((s("a"), Val::Long(4))));
    let swap = pair_mapper("swap", &Type::Long, &Type::Long);
    assert_eq!((swap.apply)(&Val::Null, &Val::Long(1)), Ok((s("1"), Val::Null)));
    let explode = flat_mapper("explode:|", &Type::Str, &Type::Str);
    assert_eq!((explode.apply)(&s("k"), &s("a||b")), Ok(vec![(s("k-0"), s("a")), (s("k-1"), s("b"))]));
    let words = flat_mapper("words_as_keys:|", &Type::Str, &Type::Str);
    assert_eq!((words.apply)(&Val::Null, &s("a")), Ok(vec![(s("a"), s("null"))]));
    assert_eq!((flat_values("with_null", &Type::Str).apply)(&s("k"), &s("v")), Ok(vec![s("v"), Val::Null]));
    assert_eq!((flat_values("words:|", &Type::Str).apply)(&s("k"), &Val::Null), Ok(vec![]));
}

#[test]
fn aggregation() {
    assert_eq!(aggregator("concat")(&s("k"), &s("v"), &Val::Null), Ok(s("null+v")));
    assert_eq!(aggregator("key_concat")(&s("k"), &s("v"), &s("a")), Ok(s("a+k:v")));
    assert_eq!(aggregator("null_if:v")(&s("k"), &s("v"), &s("a")), Ok(Val::Null));
    assert_eq!(aggregator("null_if:null")(&s("k"), &Val::Null, &s("a")), Ok(s("a+null")));
    assert_eq!(aggregator("throw_if:v")(&s("k"), &s("v"), &s("a")), Err(Boom));
    assert_eq!(aggregator("max")(&s("k"), &s("7"), &Val::Long(3)), Ok(Val::Long(7)));
    assert_eq!(combiner("throw_if:null")(&s("a"), &Val::Null), Err(Boom));
    assert_eq!(combiner("merge")(&s("a"), &s("b")), Ok(s("a&b")));
    assert_eq!(initializer("zero"), (Val::Long(0), Type::Long));
    assert_eq!(initializer("const:a:b"), (s("a:b"), Type::Str));
}

#[test]
fn joiners_and_topic_names() {
    let join = |spec: &str, l: &Val, r: &Val| joiner(spec, &Type::Str, &Type::Long).apply.as_ref()(&s("k"), l, r);
    assert_eq!(join("pair_with_key", &s("l"), &Val::Null), Ok(s("k(l,null)")));
    assert_eq!(join("null_if_equal", &s("1"), &Val::Long(1)), Ok(Val::Null));
    assert_eq!(join("throw_if:null", &Val::Null, &Val::Null), Err(Boom));
    assert_eq!(joiner("right", &Type::Str, &Type::Long).kind, Type::Long);
    assert_eq!(topic_name("by_source:p-")(&s("k"), &s("v"), Some("in")), "p-in");
    assert_eq!(topic_name("by_value:p-")(&s("k"), &Val::Null, None), "p-null");
}
