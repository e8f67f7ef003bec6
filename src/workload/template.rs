//! Templates: what `{{ id }}` and its like become.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind, Template, UndefinedBehavior, Value};

use crate::document::{did_you_mean, list};

/// The longest text a template may become, bytes.
const MAX_RENDERED: usize = 64 << 10;
/// The most instructions a template may take.
const MAX_STEPS: u64 = 20_000;

/// What the templates of a node see, `[vars]` aside.
pub const NODE_NAMES: &[&str] = &["id", "index", "host", "port", "ports", "peers", "all", "dir", "harness"];

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// A suggestion.
    pub hint: String,
    /// Which bytes of the template.
    pub range: Option<Range<usize>>,
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_recursion_limit(50);
    // They make texts of any width from a short template, before the limit on the result can stop them.
    for filter in ["format", "indent"] {
        environment.remove_filter(filter);
    }
    environment
});

fn parse(template: &str) -> Result<Template<'_, '_>, TemplateError> {
    let environment: &Environment<'_> = &ENVIRONMENT;
    environment.template_from_str(template).map_err(|error| explain(&error, template))
}

/// The variables `template` refers to.
///
/// # Errors
/// It is no template.
pub fn variables(template: &str) -> Result<Vec<String>, TemplateError> {
    let parsed = parse(template)?;
    let mut names: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
    names.sort();
    Ok(names)
}

/// Renders `template` with `values`.
///
/// # Errors
/// It is no template, names an unknown variable, or cannot be rendered within bounds.
pub fn render(template: &str, values: &BTreeMap<String, Value>) -> Result<String, TemplateError> {
    for name in variables(template)? {
        if !values.contains_key(&name) && !is_function(&name) {
            let known: Vec<&str> = values.keys().map(String::as_str).collect();
            return Err(unknown_variable(template, &name, &known));
        }
    }
    let parsed = parse(template)?;
    let mut out = Bounded(Vec::new());
    parsed.render_captured_to(Value::from(values.clone()), &mut out).map_err(|error| match error.kind() {
        ErrorKind::WriteFailure => TemplateError {
            message: format!("becomes longer than {} KiB", MAX_RENDERED >> 10),
            hint: "expected a shorter text".to_owned(),
            range: None,
        },
        _ => explain(&error, template),
    })?;
    String::from_utf8(out.0).map_err(|_| TemplateError {
        message: "does not become text".to_owned(),
        hint: "expected UTF-8".to_owned(),
        range: None,
    })
}

/// The mistake of naming a variable there is none of.
pub fn unknown_variable(template: &str, name: &str, known: &[&str]) -> TemplateError {
    let fallback = format!("expected {}", list(known, "or"));
    TemplateError {
        message: format!("uses an unknown variable `{name}`"),
        hint: did_you_mean(name, known.iter().copied(), &fallback),
        range: find_word(template, name),
    }
}

/// Whether `name` is a function of templates (`range`): they count as undeclared variables.
pub fn is_function(name: &str) -> bool {
    ENVIRONMENT.globals().any(|(known, _)| known == name)
}

/// Where `name` stands as a word of its own, preferably inside a `{{ … }}`.
fn find_word(template: &str, name: &str) -> Option<Range<usize>> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let mut starts = template.match_indices(name).map(|(start, _)| start).filter(|start| {
        let before = template[..*start].chars().next_back();
        let after = template[start + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part) && template[..*start].contains('{')
    });
    starts.next().map(|start| start..start + name.len())
}

fn explain(error: &minijinja::Error, template: &str) -> TemplateError {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    // The last line's end is where an unclosed tag is noticed, and there is nothing to underline.
    let range = error.range().filter(|range| range.start < range.end && range.end <= template.len());
    let message = match error.kind() {
        ErrorKind::UndefinedError => format!("uses something that is not there: {detail}"),
        ErrorKind::OutOfFuel => "takes too many steps".to_owned(),
        _ => format!("is a bad template: {detail}"),
    };
    TemplateError { message, hint: "here".to_owned(), range }
}

/// A writer that refuses to grow without bound.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_RENDERED {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[(&str, &str)]) -> BTreeMap<String, Value> {
        names.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    }

    #[test]
    fn mistakes_are_located() {
        let error = render("--port {{ prot }}", &with(&[("port", "1")])).unwrap_err();
        assert_eq!(error.message, "uses an unknown variable `prot`");
        assert_eq!(error.hint, "did you mean `port`?");
        assert_eq!(error.range, Some(10..14));
        let error = render("{{ id | nosuch }}", &with(&[("id", "1")])).unwrap_err();
        assert!(error.message.contains("nosuch"), "{error:?}");
        assert!(error.range.is_some());
        assert!(render("{{ id", &with(&[("id", "1")])).is_err());
    }

    #[test]
    fn templates_are_bounded() {
        for greedy in [
            "{% for i in range(90000) %}{% for j in range(90000) %}x{% endfor %}{% endfor %}",
            "{{ 'x' * 90000 }}",
            "{{ '%099999999999d' | format(1) }}",
        ] {
            assert!(render(greedy, &BTreeMap::new()).is_err(), "{greedy}");
        }
        assert_eq!(render("{% for i in range(3) %}{{ i }}{% endfor %}", &BTreeMap::new()).unwrap(), "012");
    }
}
