//! Tables of all keys for the documentation, made from the declarations so that they cannot differ from the code.

use std::fmt::Write as _;
use std::path::Path;

use super::{Config, Refused};

/// Markdown: one table of the keys that are honoured, one of those that are ignored, one of those that are refused.
pub fn document<C: Config>() -> String {
    let mut text =
        String::from("### Honoured\n\n| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n");
    for field in C::fields() {
        row(
            &mut text,
            &[
                code(field.key),
                default_text(&(field.default)()),
                (field.expected)(),
                field.doc.trim().to_owned(),
            ],
        );
    }
    text.push_str("\n### Accepted and ignored\n\n| Why | Keys |\n|---|---|\n");
    for ignored in C::IGNORED {
        let keys: Vec<String> = ignored.keys().map(code).collect();
        row(&mut text, &[ignored.0.to_owned(), keys.join(" ")]);
    }
    text.push_str("\n### Refused\n\n| Key | Refused values | Why |\n|---|---|---|\n");
    for Refused(key, when, reason) in C::REFUSED {
        row(
            &mut text,
            &[code(key), when.describe(), (*reason).to_owned()],
        );
    }
    text
}

fn row(text: &mut String, cells: &[String]) {
    for cell in cells {
        let _ = write!(text, "| {} ", cell.replace('|', "\\|"));
    }
    text.push_str("|\n");
}

fn code(key: &str) -> String {
    format!("`{key}`")
}

/// Defaults below the home directory are the same for every user.
fn default_text(default: &str) -> String {
    if default.is_empty() {
        return String::new();
    }
    let home = std::env::home_dir().unwrap_or_default();
    match Path::new(default).strip_prefix(&home) {
        Ok(below) if home.parent().is_some() => code(&format!("$HOME/{}", below.display())),
        _ => code(default),
    }
}

/// `page` with `tables` between the lines `<!-- keys of NAME -->` and `<!-- end of keys -->`.
pub fn with_tables(page: &str, name: &str, tables: &str) -> String {
    let begin = format!("<!-- keys of {name} -->\n");
    let Some((before, rest)) = page.split_once(&begin) else {
        return page.to_owned();
    };
    let after = rest.split_once(END_OF_KEYS).map_or("", |(_, after)| after);
    format!("{before}{begin}\n{tables}\n{END_OF_KEYS}{after}")
}

const END_OF_KEYS: &str = "<!-- end of keys -->";

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, Ignored, Refused, Unsafe};
    use super::*;
    use crate::config;

    config! {
        /// Settings of a test.
        struct Sample {
            /// A port; 0 | any.
            port: u16 = "listenPort", 9876, in 0..=9999;
            /// A name.
            name: String = "theName", String::new();
        }
    }

    impl Config for Sample {
        const IGNORED: &'static [Ignored] = &[Ignored("none here", "a b")];
        const REFUSED: &'static [Refused] = &[Refused("c", Unsafe::True, "unsafe")];

        fn complete(&mut self, _warnings: &mut Vec<String>) -> Result<(), ConfigError> {
            Ok(())
        }
    }

    #[test]
    fn tables_list_every_key() {
        let expected = "### Honoured

| Key | Default | Allowed | Meaning |
|---|---|---|---|
| `listenPort` | `9876` | a whole number from 0 to 9999 | A port; 0 \\| any. |
| `theName` |  | text | A name. |

### Accepted and ignored

| Why | Keys |
|---|---|
| none here | `a` `b` |

### Refused

| Key | Refused values | Why |
|---|---|---|
| `c` | true | unsafe |
";
        assert_eq!(document::<Sample>(), expected);
    }

    #[test]
    fn tables_replace_those_of_the_same_name() {
        let page = "# T\n<!-- keys of a -->\nold\n<!-- end of keys -->\n<!-- keys of b -->\n<!-- end of keys -->\n";
        let page = with_tables(page, "b", "new\n");
        assert_eq!(
            page,
            "# T\n<!-- keys of a -->\nold\n<!-- end of keys -->\n<!-- keys of b -->\n\nnew\n\n<!-- end of keys -->\n"
        );
        assert_eq!(with_tables(&page, "b", "new\n"), page);
    }
}
