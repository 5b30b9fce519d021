//! The one line with which a Java client says who it is: `sasl.jaas.config`.

/// A login module and its options.
#[derive(PartialEq)]
pub(super) struct Login {
    pub(super) module: String,
    pub(super) options: Vec<(String, String)>,
}

impl Login {
    /// The last part of the module's name: `PlainLoginModule`.
    pub(super) fn module_name(&self) -> &str {
        self.module.rsplit('.').next().unwrap_or(&self.module)
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads `Module required key="value" …;`. The error says what is missing, without what was written: it holds a password.
pub(super) fn parse(text: &str) -> Result<Login, String> {
    let mut words = Words(text.trim()).collect::<Result<Vec<_>, _>>()?.into_iter();
    let module = words.next().filter(|word| !word.contains(['=', ';'])).ok_or("begins with no login module")?;
    match words.next().as_deref() {
        Some("required" | "requisite" | "sufficient" | "optional") => {}
        _ => return Err("has no `required` behind the login module".to_owned()),
    }
    let mut options = Vec::new();
    loop {
        match words.next() {
            Some(word) if word == ";" => break,
            Some(key) if key != "=" => match (words.next().as_deref(), words.next()) {
                (Some("="), Some(value)) if value != ";" => options.push((key, value)),
                _ => return Err(format!("wants `=` and a value behind `{key}`")),
            },
            Some(_) => return Err("has a `=` without a name before it".to_owned()),
            None => return Err("must end with `;`".to_owned()),
        }
    }
    match words.next() {
        None => Ok(Login { module, options }),
        Some(_) => Err("has a second login module: leave one".to_owned()),
    }
}

/// Words, texts in quotes, and the signs `=` and `;`.
struct Words<'t>(&'t str);

impl Iterator for Words<'_> {
    type Item = Result<String, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.trim_start();
        let first = self.0.chars().next()?;
        let (word, rest) = match first {
            '=' | ';' => (Ok(first.to_string()), &self.0[1..]),
            '"' => match quoted(&self.0[1..]) {
                Some((text, rest)) => (Ok(text), rest),
                None => (Err("has a quote that is not closed".to_owned()), ""),
            },
            _ => {
                let end = self.0.find(|c: char| c.is_whitespace() || matches!(c, '=' | ';' | '"')).unwrap_or(self.0.len());
                (Ok(self.0[..end].to_owned()), &self.0[end..])
            }
        };
        self.0 = rest;
        Some(word)
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut signs = text.char_indices();
    while let Some((at, c)) = signs.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(signs.next()?.1),
            _ => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_a_module_and_options() {
        let text = "org.apache.kafka.common.security.scram.ScramLoginModule required\n  username=\"ann\" password=\"p;=\\\" \\\\x\" tokenauth=true;";
        let login = parse(text).unwrap();
        assert_eq!(login.module_name(), "ScramLoginModule");
        assert_eq!((login.option("username"), login.option("password")), (Some("ann"), Some("p;=\" \\x")));
        assert_eq!((login.option("tokenauth"), login.option("gone")), (Some("true"), None));
        assert!(parse("a.B required;").unwrap().options.is_empty());
    }

    #[test]
    fn what_is_missing_is_said_without_the_password() {
        for (text, said) in [
            ("", "no login module"),
            ("a.B username=\"x\";", "no `required`"),
            ("a.B required username=\"x\" password=\"hunter2\"", "end with `;`"),
            ("a.B required password=\"hunter2;", "not closed"),
            ("a.B required username \"hunter2\";", "behind `username`"),
            ("a.B required password=;", "behind `password`"),
            ("a.B required =\"hunter2\";", "without a name"),
            ("a.B required; c.D required;", "second login module"),
        ] {
            let why = parse(text).err().unwrap();
            assert!(why.contains(said) && !why.contains("hunter2"), "{text}: {why}");
        }
    }
}
