//! Whom a fault is aimed at.

use serde_json::{Value as Json, json};

use super::aim::{Aimed, Part};
use super::kinds::{Cast, Draw};
use crate::document::{Field, Val, list, nearest};

/// Words for targets; no node may have one of these names.
pub const WORDS: &[&str] =
    &["one", "random", "minority", "majority", "all", "leader", "follower", "followers"];

/// Whom a fault is aimed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These.
    Names(Vec<String>),
    /// One node, drawn.
    One,
    /// A non-empty set of nodes, drawn.
    Random,
    /// As many nodes, drawn, as leave a majority.
    Minority,
    /// The smallest majority, drawn.
    Majority,
    /// Every node.
    All,
    /// Whoever plays this part when the fault begins.
    Part(Part),
}

/// How many nodes a minority has.
pub fn minority(nodes: usize) -> usize {
    nodes.saturating_sub(1) / 2
}

impl Target {
    /// Reads a node name, a list of names or a word.
    pub fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Target> {
        match &field.node.val {
            Val::Text(text) => match text.as_str() {
                "one" => Some(Target::One),
                "random" => Some(Target::Random),
                "minority" if minority(cast.nodes.len()) == 0 => {
                    let title = format!("= \"minority\": a minority of {} nodes is nobody", cast.nodes.len());
                    field.fail(title, "expected another target");
                    None
                }
                "minority" => Some(Target::Minority),
                "majority" => Some(Target::Majority),
                "all" => Some(Target::All),
                "follower" | "followers" if cast.nodes.len() < 2 => {
                    field.fail(format!("= {text:?}: of one node, none follows"), "expected another target");
                    None
                }
                word if Part::of(word).is_some() => match cast.mute {
                    None => Part::of(word).map(Target::Part),
                    Some(protocol) => {
                        field.fail(
                            format!("= {text:?}: nobody can say who that is"),
                            format!("expected the protocol {protocol:?} to teach `[status]`"),
                        );
                        None
                    }
                },
                _ => node(field, cast).map(|name| Target::Names(vec![name])),
            },
            Val::List(_) => names(field, cast).map(Target::Names),
            _ => field.wrong_type(&format!("a node, a list of nodes, or one of {}", list(WORDS, "or"))),
        }
    }

    /// The nodes aimed at, in the workload's order; never empty when there are nodes.
    pub fn draw(&self, draw: &mut Draw<'_>) -> Vec<String> {
        let count = draw.nodes.len();
        let size = match self {
            Target::Names(names) => return names.clone(),
            Target::All => return draw.nodes.to_vec(),
            Target::Part(part) => return play(*part, draw),
            Target::Random => {
                // Every non-empty subset is as likely as any other; beyond 63 nodes all words are as good.
                let bits = draw.rng.between(1, (1_u64 << count.min(63)) - 1);
                let chosen =
                    |(index, node): (usize, &String)| (bits >> (index % 63) & 1 == 1).then(|| node.clone());
                return draw.nodes.iter().enumerate().filter_map(chosen).collect();
            }
            Target::One => 1,
            Target::Minority => minority(count).max(1),
            Target::Majority => count / 2 + 1,
        };
        let mut order: Vec<usize> = (0..count).collect();
        draw.rng.shuffle(&mut order);
        order.truncate(size);
        order.sort_unstable();
        order.into_iter().map(|index| draw.nodes[index].clone()).collect()
    }

    /// The names, where they are fixed.
    pub fn fixed<'a>(&'a self, cast: &'a Cast<'_>) -> Option<&'a [String]> {
        match self {
            Target::Names(names) => Some(names),
            Target::All => Some(cast.nodes),
            _ => None,
        }
    }

    /// The JSON Schema of a target.
    pub fn schema() -> Json {
        json!({
            "description": "a node, a list of nodes, or one of the words one, random, minority, majority, all; leader, \
                            follower, followers: whoever is when the fault begins",
            "anyOf": [{ "type": "string", "minLength": 1 }, Target::names_schema()]
        })
    }

    /// The JSON Schema of a list of nodes.
    pub fn names_schema() -> Json {
        json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string", "minLength": 1 } })
    }
}

/// Who plays `part`; its word, where that is not known.
fn play(part: Part, draw: &mut Draw<'_>) -> Vec<String> {
    let nodes = match (part, draw.parts) {
        (_, None) => Vec::new(),
        (Part::Leader, Some(parts)) => vec![parts.leader.clone()],
        (Part::Follower, Some(parts)) => draw.rng.pick(&parts.followers).cloned().into_iter().collect(),
        (Part::Followers, Some(parts)) => parts.followers.clone(),
    };
    draw.aimed.push(Aimed { word: part.word(), nodes: nodes.clone() });
    if nodes.is_empty() { vec![part.word().to_owned()] } else { nodes }
}

/// Reads one node's name.
pub fn node(field: &Field<'_>, cast: &Cast<'_>) -> Option<String> {
    let text = field.text()?;
    if cast.nodes.iter().any(|node| node == text) {
        return Some(text.to_owned());
    }
    if WORDS.contains(&text) {
        field.fail(format!("= {text:?} is not a node"), format!("expected {}", list(cast.nodes, "or")));
        return None;
    }
    let words = cast.nodes.iter().map(String::as_str).chain(WORDS.iter().copied());
    let title = format!("names a node that does not exist: {text:?}");
    match nearest(text, words) {
        Some(near) => field.fail(title, format!("did you mean `{near}`?")),
        None => field.fail_help(
            title,
            format!("the nodes are {}", list(cast.nodes, "and")),
            Some(format!("other targets are {}", list(WORDS, "and"))),
        ),
    }
    None
}

/// Reads a list of different nodes, at least one.
pub fn names(field: &Field<'_>, cast: &Cast<'_>) -> Option<Vec<String>> {
    let items = field.items("nodes")?;
    if items.is_empty() {
        field.fail("is empty", "expected at least one node");
        return None;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut fine = true;
    for item in &items {
        match node(item, cast) {
            Some(name) if seen.contains(&name) => {
                item.fail(format!("names {name:?} a second time"), "each node once");
                fine = false;
            }
            Some(name) => seen.push(name),
            None => fine = false,
        }
    }
    // In the workload's order, so that the same set always reads the same.
    fine.then(|| cast.nodes.iter().filter(|node| seen.contains(node)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Rng;

    #[test]
    fn sizes_are_what_the_words_say() {
        for count in 1..8_usize {
            let nodes: Vec<String> = (0..count).map(|index| format!("n{index}")).collect();
            for seed in 0..50 {
                let size =
                    |target: Target| target.draw(&mut Draw::new(&nodes, Rng::new(seed, "target"))).len();
                assert_eq!(size(Target::One), 1);
                assert_eq!(size(Target::All), count);
                assert!(size(Target::Majority) * 2 > count);
                assert!((1..=count).contains(&size(Target::Random)));
                if count > 2 {
                    assert!(size(Target::Minority) * 2 < count);
                    assert_eq!(size(Target::Minority), (count - 1) / 2);
                }
            }
        }
    }
}
