//! Properties files, as Java reads them.

/// Reads the text of a properties file: its keys and values in order, or the line that is none and what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut whole = line.trim_start().to_owned();
        if whole.is_empty() || whole.starts_with(['#', '!']) {
            continue;
        }
        while goes_on(&whole) {
            whole.pop();
            whole.push_str(lines.next().map_or("", |(_, next)| next.trim_start()));
        }
        let (key, value) = split(&whole);
        let read = |text| unescaped(text).map_err(|why| (number + 1, why));
        pairs.push((read(key)?, read(value)?));
    }
    Ok(pairs)
}

/// A line goes on in the next one if it ends with a backslash that no other one takes away.
fn goes_on(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// The key ends at the first `=`, `:` or space without a backslash before it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                out.push(code.and_then(char::from_u32).ok_or("`\\u` wants the four hexadecimal digits of a character")?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn one(text: &str) -> (String, String) {
        let mut found = pairs(text);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn keys_end_where_java_ends_them() {
        let same = ("a.b".to_owned(), "c = d".to_owned());
        for text in ["a.b=c = d", "a.b = c = d", "a.b:c = d", "a.b c = d", "  a.b\t= c = d", "a.b=c \\\n   = d"] {
            assert_eq!(one(text), same, "{text:?}");
        }
        assert_eq!(one("a\\ b\\=c=d"), ("a b=c".to_owned(), "d".to_owned()));
        assert_eq!(one("alone"), ("alone".to_owned(), String::new()));
    }

    #[test]
    fn comments_and_empty_lines_are_nothing() {
        assert_eq!(pairs("# a=b\n\n ! c=d\r\n   \nx=y\r\n"), [("x".to_owned(), "y".to_owned())]);
        assert_eq!(pairs("a=1\n# b \\\nc=2\n").len(), 2, "a comment does not go on");
    }

    #[test]
    fn a_certificate_written_over_several_lines_is_one_value() {
        let (_, value) = one("ssl.ca=-----BEGIN\\nAB\\n\\\n  CD\\n-----END");
        assert_eq!(value, "-----BEGIN\nAB\nCD\n-----END");
        assert_eq!(one("p=a\\\\b\\u00e9\\q").1, "a\\b\u{e9}q");
        assert_eq!(parse("a=1\nb=\\u12").unwrap_err().0, 2);
    }
}
