//! Chat templates: how messages become a prompt, without a message being able to become anything else.
//!
//! The template is rendered with a mark in the place of each content. Only what lies between the marks is the template's,
//! and only there are control tokens recognised; contents are encoded apart, as plain text.

use foreblock_precompile::{Failure, FailureCode};
use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig};

use super::TEMPLATE_FILE;

/// Around the number of a content: two characters of a private plane, which mean nothing to anybody else.
const OPEN: char = '\u{F0000}';
const CLOSE: char = '\u{F0001}';
/// Steps that a template may take.
const FUEL: u64 = 100_000;
const NAME: &str = "chat";

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text of the template.
    Template(String),
    /// The content of this message.
    Content(usize),
}

/// A chat template that parses.
pub(super) struct Template {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

impl Template {
    /// Reads a template; `begin` and `end` are what it calls `bos_token` and `eos_token`.
    pub(super) fn read(source: &[u8], begin: String, end: String) -> Result<Self, Failure> {
        let source = std::str::from_utf8(source).map_err(|_| refused("it is not UTF-8"))?;
        if source.contains([OPEN, CLOSE]) {
            return Err(refused("it holds the marks U+F0000 or U+F0001"));
        }
        let mut environment = Environment::new();
        // As Hugging Face renders templates.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|_| refused("it does not parse"))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|_| refused("it does not parse"))?;
        Ok(Self { environment, begin, end })
    }

    /// The prompt for messages of these roles, up to where the assistant answers.
    pub(super) fn render(&self, roles: &[&str]) -> Result<Vec<Piece>, Failure> {
        let message =
            |(index, role): (usize, &&str)| context! { role => *role, content => format!("{OPEN}{index}{CLOSE}") };
        let messages: Vec<_> = roles.iter().enumerate().map(message).collect();
        let context =
            context! { messages, add_generation_prompt => true, bos_token => &*self.begin, eos_token => &*self.end };
        let template = self.environment.get_template(NAME).map_err(|_| refused("it does not parse"))?;
        let text = template.render(context).map_err(|_| refused("it refuses these roles, or fails"))?;
        let pieces = pieces(&text).filter(|pieces| {
            let shown = |index: usize| pieces.contains(&Piece::Content(index));
            (0..roles.len()).all(shown)
        });
        pieces.ok_or_else(|| refused("it leaves out or changes the content of a message"))
    }
}

fn refused(why: &str) -> Failure {
    // The library's words may change with its version, so they are no part of the reason.
    Failure::new(FailureCode::Template, format!("{TEMPLATE_FILE}: {why}"))
}

fn raise(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The rendered text, split at the marks; `None` where a mark was changed.
fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    for (index, part) in text.split(OPEN).enumerate() {
        let template = if index == 0 {
            part
        } else {
            let (number, rest) = part.split_once(CLOSE)?;
            pieces.push(Piece::Content(number.parse().ok()?));
            rest
        };
        if template.contains(CLOSE) {
            return None;
        }
        if !template.is_empty() {
            pieces.push(Piece::Template(template.into()));
        }
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, roles: &[&str]) -> Result<Vec<Piece>, Failure> {
        Template::read(source.as_bytes(), "<s>".into(), "</s>".into())?.render(roles)
    }

    #[test]
    fn contents_are_set_apart() {
        let source = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m.content | trim }}{% endfor %}";
        let template = |text: &str| Piece::Template(text.into());
        let pieces = render(source, &["system", "user"]).unwrap();
        assert_eq!(pieces, [template("<s>[system]"), Piece::Content(0), template("[user]"), Piece::Content(1)]);
    }

    #[test]
    fn templates_that_are_no_use_say_so() {
        for (name, source, words) in [
            ("unclosed", "{% for m in messages %}", "does not parse"),
            ("drops a message", "{{ messages[0].content }}", "leaves out"),
            ("cuts a content", "{% for m in messages %}{{ m.content[1:] }}{% endfor %}", "leaves out"),
            ("raises", "{{ raise_exception('no') }}", "refuses these roles"),
            ("never ends", "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", "fails"),
            ("makes marks", "\u{F0000}0\u{F0001}{{ messages[0].content }}", "U+F0000"),
            ("unknown function", "{{ open('/etc/passwd') }}", "fails"),
        ] {
            let failure = render(source, &["user", "assistant"]).unwrap_err();
            assert_eq!(failure.code, FailureCode::Template, "{name}");
            assert!(failure.reason.contains(words), "{name}: {failure}");
        }
    }
}
