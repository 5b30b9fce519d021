//! Names of nodes, stores and topics: the counter behind generated ones, and which ones Kafka accepts.

/// The one counter of a builder. Most operators take a number even when the author gave a name, so that naming one
/// operator does not rename the others.
#[derive(Debug, Default)]
pub(crate) struct Names {
    next: u32,
}

impl Names {
    /// A generated name of a node.
    pub(crate) fn node(&mut self, prefix: &str) -> String {
        let number = self.next;
        self.next += 1;
        format!("{}-{number:010}", prefix.trim_end_matches('-'))
    }
    /// A generated name of a store.
    pub(crate) fn store(&mut self, prefix: &str) -> String {
        self.node(&format!("{}-STATE-STORE", prefix.trim_end_matches('-')))
    }
    /// The author's name if there is one; a number is taken either way.
    pub(crate) fn given_or_node(&mut self, given: Option<&str>, prefix: &str) -> String {
        let generated = self.node(prefix);
        given.map_or(generated, str::to_owned)
    }
}

/// The names of a repartition topic and of the three nodes around it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShuffleNames {
    pub(crate) topic: String,
    pub(crate) filter: String,
    pub(crate) sink: String,
    pub(crate) source: String,
}

impl ShuffleNames {
    /// Names after `stem`: what the author, the store or the stream is called. Takes three numbers in any case.
    pub(crate) fn new(names: &mut Names, stem: &str) -> Self {
        let topic = if stem.ends_with("-repartition") { stem.to_owned() } else { format!("{stem}-repartition") };
        let (sink, filter, source) = (names.node("KSTREAM-SINK"), names.node("KSTREAM-FILTER"), names.node("KSTREAM-SOURCE"));
        match is_generated(stem) {
            true => ShuffleNames { topic, filter, sink, source },
            false => {
                ShuffleNames { filter: format!("{topic}-filter"), sink: format!("{topic}-sink"), source: format!("{topic}-source"), topic }
            }
        }
    }
}

/// Whether a name has the form of a generated one of a stream operator: a prefix and ten digits.
fn is_generated(name: &str) -> bool {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name.starts_with("KSTREAM") && digits == 10 && name[..name.len() - digits].ends_with('-')
}

/// Whether Kafka accepts a name for a topic, which every node and store name must be fit for.
pub(crate) fn is_legal(name: &str) -> bool {
    let fits = (1..=249).contains(&name.len()) && name != "." && name != "..";
    fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_name_takes_a_number_too() {
        let mut names = Names::default();
        assert_eq!(names.given_or_node(Some("mine"), "KSTREAM-MAP"), "mine");
        assert_eq!(names.store("KSTREAM-REDUCE-"), "KSTREAM-REDUCE-STATE-STORE-0000000001");
    }

    #[test]
    fn only_topics_with_a_generated_name_have_generated_nodes() {
        let mut names = Names::default();
        let generated = ShuffleNames::new(&mut names, "KSTREAM-AGGREGATE-STATE-STORE-0000000007");
        assert_eq!(generated.source, "KSTREAM-SOURCE-0000000002");
        let given = ShuffleNames::new(&mut names, "mine-repartition");
        assert_eq!((given.topic.as_str(), given.filter.as_str()), ("mine-repartition", "mine-repartition-filter"));
        assert_eq!(names.node("X"), "X-0000000006");
    }

    #[test]
    fn names_are_what_topics_may_be_called() {
        assert!(is_legal("a.B_c-9"));
        let long = "x".repeat(250);
        for name in ["", ".", "..", "a b", "ä", "a/b", &long] {
            assert!(!is_legal(name), "{name}");
        }
    }
}
