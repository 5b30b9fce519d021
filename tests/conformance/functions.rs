//! The fixed function vocabulary of the scenarios (FORMAT.md section 5): a function is written `name` or `name:argument`.
//!
//! Every function may throw; the reader decides how a throw meets the DSL.

use std::fmt;
use std::sync::Arc;

use super::value::{Type, Val, bytes_of, num, text};

/// The exception of the scenarios' own making, Java's `IllegalStateException("boom")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boom;

impl fmt::Display for Boom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("boom")
    }
}

impl std::error::Error for Boom {}

/// A value, or a throw.
pub(crate) type Or<T> = Result<T, Boom>;

/// A shared function of key and value.
pub(crate) type KeyValueFn<T> = Arc<dyn Fn(&Val, &Val) -> Or<T> + Send + Sync>;
/// (key, value, aggregate) to the next aggregate.
pub(crate) type Aggregator = Arc<dyn Fn(&Val, &Val, &Val) -> Or<Val> + Send + Sync>;
/// Two values to one.
pub(crate) type Combiner = Arc<dyn Fn(&Val, &Val) -> Or<Val> + Send + Sync>;
/// (key, left, right) to the joined value.
pub(crate) type JoinFn = Arc<dyn Fn(&Val, &Val, &Val) -> Or<Val> + Send + Sync>;
/// (key, value, topic the record came from) to the topic it goes to.
pub(crate) type TopicFn = Arc<dyn Fn(&Val, &Val, Option<&str>) -> String + Send + Sync>;

/// A function of one result and the type of that result.
#[derive(Clone)]
pub(crate) struct Mapper {
    pub(crate) apply: KeyValueFn<Val>,
    pub(crate) kind: Type,
}

/// A function to one key and value, or to many.
#[derive(Clone)]
pub(crate) struct PairMapper<T> {
    pub(crate) apply: KeyValueFn<T>,
    pub(crate) key: Type,
    pub(crate) value: Type,
}

/// A function to many values.
#[derive(Clone)]
pub(crate) struct FlatValues {
    pub(crate) apply: KeyValueFn<Vec<Val>>,
    pub(crate) kind: Type,
}

/// A joiner and the type of its result.
#[derive(Clone)]
pub(crate) struct Joiner {
    pub(crate) apply: JoinFn,
    pub(crate) kind: Type,
}

/// `name:argument`; the argument is empty when there is none.
pub(crate) fn split_spec(spec: &str) -> (&str, &str) {
    spec.split_once(':').unwrap_or((spec, ""))
}

fn unknown(kind: &str, spec: &str) -> ! {
    panic!("invalid scenario: unknown {kind} {spec}")
}

fn number(argument: &str) -> i64 {
    argument.parse().unwrap_or_else(|_| panic!("invalid scenario: `{argument}` is not a number"))
}

fn throw_if(value: &Val, wanted: &str) -> Or<()> {
    if !value.is_null() && text(value) == wanted { Err(Boom) } else { Ok(()) }
}

/// Section 5.1.
pub(crate) fn predicate(spec: &str) -> KeyValueFn<bool> {
    let (name, argument) = split_spec(spec);
    let wanted = argument.to_owned();
    match name {
        "all" => Arc::new(|_, _| Ok(true)),
        "none" => Arc::new(|_, _| Ok(false)),
        "value_not_null" => Arc::new(|_, v| Ok(!v.is_null())),
        "key_not_null" => Arc::new(|k, _| Ok(!k.is_null())),
        "value_is" => Arc::new(move |_, v| Ok(!v.is_null() && text(v) == wanted)),
        "value_contains" => Arc::new(move |_, v| Ok(!v.is_null() && text(v).contains(&wanted))),
        "value_starts" => Arc::new(move |_, v| Ok(!v.is_null() && text(v).starts_with(&wanted))),
        "value_gt" => {
            let limit = number(argument);
            Arc::new(move |_, v| Ok(!v.is_null() && num(v) > limit))
        }
        "value_even" => Arc::new(|_, v| Ok(!v.is_null() && num(v) % 2 == 0)),
        "key_is" => Arc::new(move |k, _| Ok(!k.is_null() && text(k) == wanted)),
        "key_in" => Arc::new(move |k, _| Ok(!k.is_null() && wanted.split(',').any(|one| one == text(k)))),
        "throw_if" => Arc::new(move |_, v| throw_if(v, &wanted).map(|()| true)),
        _ => unknown("predicate", spec),
    }
}

/// Section 5.2: values, keys and foreign keys share these.
pub(crate) fn mapper(spec: &str, key: &Type, value: &Type) -> Mapper {
    let (name, argument) = split_spec(spec);
    let owned = argument.to_owned();
    let typed = |kind: &Type, apply: KeyValueFn<Val>| Mapper { apply, kind: kind.clone() };
    match name {
        "value" => typed(value, Arc::new(|_, v| Ok(v.clone()))),
        "key" => typed(key, Arc::new(|k, _| Ok(k.clone()))),
        "window_key" => typed(&key.inner(), Arc::new(|k, _| Ok(window_key(k)))),
        "null_if" => typed(value, Arc::new(move |_, v| Ok(if text(v) == owned { Val::Null } else { v.clone() }))),
        "throw_if" => typed(value, Arc::new(move |_, v| throw_if(v, &owned).map(|()| v.clone()))),
        "num" | "add" | "to_int" | "to_double" | "to_bytes" => numeric_mapper(name, argument),
        _ => text_mapper(spec),
    }
}

fn window_key(key: &Val) -> Val {
    match key {
        Val::Windowed(w) => w.key.clone(),
        other => panic!("invalid scenario: {other:?} has no window"),
    }
}

fn numeric_mapper(name: &str, argument: &str) -> Mapper {
    let of_some = |kind: Type, f: fn(&Val) -> Val| Mapper { apply: Arc::new(move |_, v| Ok(v.map_some(f))), kind };
    match name {
        "num" => of_some(Type::Long, |v| Val::Long(num(v))),
        "to_int" => of_some(Type::Int, |v| Val::Int(num(v) as i32)),
        "to_double" => of_some(Type::Double, |v| Val::Double(num(v) as f64 / 2.0)),
        "to_bytes" => of_some(Type::Bytes, |v| Val::Bytes(bytes_of(v).expect("not null"))),
        _ => {
            let more = number(argument);
            Mapper { apply: Arc::new(move |_, v| Ok(v.map_some(|v| Val::Long(num(v).wrapping_add(more))))), kind: Type::Long }
        }
    }
}

fn text_mapper(spec: &str) -> Mapper {
    let (name, argument) = split_spec(spec);
    let owned = argument.to_owned();
    let apply: KeyValueFn<Val> = match name {
        "text" => Arc::new(|_, v| Ok(v.map_some(|v| Val::Str(text(v))))),
        "text_or_null" => Arc::new(|_, v| Ok(Val::Str(text(v)))),
        "key_text" => Arc::new(|k, _| Ok(k.map_some(|k| Val::Str(text(k))))),
        "key_value" => Arc::new(|k, v| Ok(Val::Str(format!("{}:{}", text(k), text(v))))),
        "upper" => Arc::new(|_, v| Ok(v.map_some(|v| Val::Str(text(v).to_uppercase())))),
        "append" => Arc::new(move |_, v| Ok(v.map_some(|v| Val::Str(text(v) + &owned)))),
        "const" => Arc::new(move |_, _| Ok(Val::str(&*owned))),
        "null" => Arc::new(|_, _| Ok(Val::Null)),
        "first_char" => Arc::new(|_, v| Ok(v.map_some(first_char))),
        "field" | "field_or_null" | "key_field" => return field_mapper(name, argument),
        "mod" => {
            let divisor = number(argument);
            Arc::new(move |_, v| Ok(v.map_some(|v| Val::Str(format!("m{}", num(v).rem_euclid(divisor))))))
        }
        _ => unknown("mapper", spec),
    };
    Mapper { apply, kind: Type::Str }
}

fn field_mapper(name: &str, argument: &str) -> Mapper {
    let n = usize::try_from(number(argument)).expect("a field number is not negative");
    let apply: KeyValueFn<Val> = match name {
        "field" => Arc::new(move |_, v| Ok(field(v, n))),
        "key_field" => Arc::new(move |k, _| Ok(field(k, n))),
        _ => Arc::new(move |_, v| {
            let part = field(v, n);
            Ok(if part == Val::str("") { Val::Null } else { part })
        }),
    };
    Mapper { apply, kind: Type::Str }
}

/// Part `n` of a text split at every `|`; null when there is no such part.
fn field(value: &Val, n: usize) -> Val {
    if value.is_null() { Val::Null } else { text(value).split('|').nth(n).map_or(Val::Null, Val::str) }
}

/// Java cuts by UTF-16 units: half of a pair is written as a question mark.
fn first_char(value: &Val) -> Val {
    match text(value).chars().next() {
        None => Val::Null,
        Some(c) if c as u32 > 0xffff => Val::str("?"),
        Some(c) => Val::Str(c.to_string()),
    }
}

fn text_or_null(value: &Val) -> Val {
    value.map_some(|v| Val::Str(text(v)))
}

/// Section 5.3, one pair: `swap` or `A=>B`.
pub(crate) fn pair_mapper(spec: &str, key: &Type, value: &Type) -> PairMapper<(Val, Val)> {
    if spec == "swap" {
        return PairMapper { apply: Arc::new(|k, v| Ok((text_or_null(v), text_or_null(k)))), key: Type::Str, value: Type::Str };
    }
    let Some((to_key, to_value)) = spec.split_once("=>") else { unknown("pair mapper", spec) };
    let (a, b) = (mapper(to_key, key, value), mapper(to_value, key, value));
    PairMapper { key: a.kind, value: b.kind, apply: Arc::new(move |k, v| Ok(((a.apply)(k, v)?, (b.apply)(k, v)?))) }
}

/// Section 5.3, any number of pairs.
pub(crate) fn flat_mapper(spec: &str, key: &Type, value: &Type) -> PairMapper<Vec<(Val, Val)>> {
    let (name, argument) = split_spec(spec);
    let separator = argument.to_owned();
    match name {
        "dup" => {
            let times = number(argument) as usize;
            let apply: KeyValueFn<_> = Arc::new(move |k, v| Ok(vec![(k.clone(), v.clone()); times]));
            PairMapper { apply, key: key.clone(), value: value.clone() }
        }
        "words_as_keys" => {
            let apply: KeyValueFn<Vec<(Val, Val)>> =
                Arc::new(move |k, v| Ok(pieces(v, &separator).into_iter().map(|w| (w, Val::Str(text(k)))).collect()));
            PairMapper { apply, key: Type::Str, value: Type::Str }
        }
        "explode" => {
            let apply: KeyValueFn<Vec<(Val, Val)>> = Arc::new(move |k, v| {
                let numbered = pieces(v, &separator).into_iter().enumerate();
                Ok(numbered.map(|(i, w)| (Val::Str(format!("{}-{i}", text(k))), w)).collect())
            });
            PairMapper { apply, key: Type::Str, value: Type::Str }
        }
        _ => unknown("flat mapper", spec),
    }
}

/// Section 5.3, any number of values.
pub(crate) fn flat_values(spec: &str, value: &Type) -> FlatValues {
    let (name, argument) = split_spec(spec);
    let separator = argument.to_owned();
    match name {
        "words" => FlatValues { apply: Arc::new(move |_, v| Ok(pieces(v, &separator))), kind: Type::Str },
        "dup" => {
            let times = number(argument) as usize;
            FlatValues { apply: Arc::new(move |_, v| Ok(vec![v.clone(); times])), kind: value.clone() }
        }
        "with_null" => FlatValues { apply: Arc::new(|_, v| Ok(vec![v.clone(), Val::Null])), kind: value.clone() },
        _ => unknown("flat value mapper", spec),
    }
}

/// A text split at every separator, empty pieces left out.
fn pieces(value: &Val, separator: &str) -> Vec<Val> {
    if value.is_null() {
        return Vec::new();
    }
    text(value).split(separator).filter(|piece| !piece.is_empty()).map(Val::str).collect()
}

/// Section 5.4.
pub(crate) fn joiner(spec: &str, left: &Type, right: &Type) -> Joiner {
    let (name, argument) = split_spec(spec);
    let owned = argument.to_owned();
    let pair = |l: &Val, r: &Val| Val::Str(format!("({},{})", text(l), text(r)));
    let (apply, kind): (JoinFn, Type) = match name {
        "pair" => (Arc::new(move |_, l, r| Ok(pair(l, r))), Type::Str),
        "pair_with_key" => (Arc::new(move |k, l, r| Ok(Val::Str(text(k) + &text(&pair(l, r))))), Type::Str),
        "left" => (Arc::new(|_, l, _| Ok(l.clone())), left.clone()),
        "right" => (Arc::new(|_, _, r| Ok(r.clone())), right.clone()),
        "sum" => (Arc::new(|_, l, r| Ok(Val::Long(num(l).wrapping_add(num(r))))), Type::Long),
        "null_if_equal" => (Arc::new(move |_, l, r| Ok(if text(l) == text(r) { Val::Null } else { pair(l, r) })), Type::Str),
        "throw_if" => (Arc::new(move |_, l, r| if text(l) == owned { Err(Boom) } else { Ok(pair(l, r)) }), Type::Str),
        _ => unknown("joiner", spec),
    };
    Joiner { apply, kind }
}

/// Section 5.5: where an aggregate begins, and its type.
pub(crate) fn initializer(spec: &str) -> (Val, Type) {
    let (name, argument) = split_spec(spec);
    match name {
        "empty" => (Val::str(""), Type::Str),
        "const" => (Val::str(argument), Type::Str),
        "zero" => (Val::Long(0), Type::Long),
        "null" => (Val::Null, Type::Str),
        _ => unknown("initializer", spec),
    }
}

fn joined(a: &Val, between: char, b: &Val) -> Val {
    Val::Str(format!("{}{between}{}", text(a), text(b)))
}

/// Section 5.5: what an aggregate becomes.
pub(crate) fn aggregator(spec: &str) -> Aggregator {
    let (name, argument) = split_spec(spec);
    let owned = argument.to_owned();
    match name {
        "concat" => Arc::new(|_, v, a| Ok(joined(a, '+', v))),
        "subtract" => Arc::new(|_, v, a| Ok(joined(a, '-', v))),
        "key_concat" => Arc::new(|k, v, a| Ok(Val::Str(format!("{}+{}:{}", text(a), text(k), text(v))))),
        "latest" => Arc::new(|_, v, _| Ok(text_or_null(v))),
        "keep" => Arc::new(|_, _, a| Ok(a.clone())),
        "sum" => Arc::new(|_, v, a| Ok(Val::Long(num(a).wrapping_add(num(v))))),
        "minus" => Arc::new(|_, v, a| Ok(Val::Long(num(a).wrapping_sub(num(v))))),
        "count" => Arc::new(|_, _, a| Ok(Val::Long(num(a).wrapping_add(1)))),
        "uncount" => Arc::new(|_, _, a| Ok(Val::Long(num(a).wrapping_sub(1)))),
        "max" => Arc::new(|_, v, a| Ok(Val::Long(num(a).max(num(v))))),
        "null_if" => Arc::new(move |_, v, a| Ok(if !v.is_null() && text(v) == owned { Val::Null } else { joined(a, '+', v) })),
        "throw_if" => Arc::new(move |_, v, a| throw_if(v, &owned).map(|()| joined(a, '+', v))),
        _ => unknown("aggregator", spec),
    }
}

/// Section 5.5: reducers (aggregate, value) and mergers of two sessions.
pub(crate) fn combiner(spec: &str) -> Combiner {
    let (name, argument) = split_spec(spec);
    let owned = argument.to_owned();
    match name {
        "concat" => Arc::new(|a, b| Ok(joined(a, '+', b))),
        "subtract" => Arc::new(|a, b| Ok(joined(a, '-', b))),
        "merge" => Arc::new(|a, b| Ok(joined(a, '&', b))),
        "first" => Arc::new(|a, _| Ok(a.clone())),
        "last" => Arc::new(|_, b| Ok(b.clone())),
        "sum" => Arc::new(|a, b| Ok(Val::Long(num(a).wrapping_add(num(b))))),
        "minus" => Arc::new(|a, b| Ok(Val::Long(num(a).wrapping_sub(num(b))))),
        "max" => Arc::new(|a, b| Ok(Val::Long(num(a).max(num(b))))),
        "null_if" => Arc::new(move |a, b| Ok(if text(b) == owned { Val::Null } else { joined(a, '+', b) })),
        "throw_if" => Arc::new(move |a, b| if text(b) == owned { Err(Boom) } else { Ok(joined(a, '+', b)) }),
        _ => unknown("combiner", spec),
    }
}

/// Section 5.6: the topic a dynamic sink chooses.
pub(crate) fn topic_name(spec: &str) -> TopicFn {
    let (name, argument) = split_spec(spec);
    let prefix = argument.to_owned();
    match name {
        "const" => Arc::new(move |_, _, _| prefix.clone()),
        "by_key" => Arc::new(move |k, _, _| prefix.clone() + &text(k)),
        "by_value" => Arc::new(move |_, v, _| prefix.clone() + &text(v)),
        "by_source" => Arc::new(move |_, _, source| prefix.clone() + source.unwrap_or("null")),
        _ => unknown("topic name function", spec),
    }
}
