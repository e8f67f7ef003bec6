//! Histories of operations alone: read as [`Calls`], judged by the plain checks.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::{Args, Input, Judged};
use crate::check::ladder::{self, Ladder};
use crate::check::models::{Doubt, Initial, Model};
use crate::check::plain::{self, Answer, PlainCheck, Proof, Question};
use crate::check::start;
use crate::check::{CheckMode, Verdict};
use crate::history::calls::Calls;
use crate::history::import::{self, Format};
use crate::report::plain::{self as shown, Asked};
use crate::report::style::Style;

/// A history of operations, and what it is to be checked against.
pub(super) struct Foreign {
    name: String,
    calls: Calls,
    format: Option<Format>,
    given: Option<Model>,
    /// The model its operations tell, or why they do not.
    told: Result<Model, String>,
    /// What it may be as well, where that was guessed.
    doubt: Option<Doubt>,
    question: Question,
}

impl Foreign {
    /// Reads a file.
    ///
    /// # Errors
    /// For people, with file and line.
    pub(super) fn read(args: &Args, file: &Input, format: Option<Format>) -> Result<Self, String> {
        let name = file.name().display().to_string();
        let calls = import::read_from(file.read()?, file.name(), import::Options { format, keyed: None })
            .map_err(|error| error.to_string())?;
        let (told, doubt) = match args.model {
            Some(model) => (Ok(model), None),
            None => match Model::infer_read_as(&calls, format) {
                Ok(told) => (Ok(told.model), told.doubt),
                Err(why) => (Err(why), None),
            },
        };
        let question = Question {
            model: told.clone().ok(),
            initial: args.initial.clone().unwrap_or_default(),
            budget: args.budget(),
        };
        Ok(Foreign { name, calls, format, given: args.model, told, doubt, question })
    }

    /// The first lines about this file.
    pub(super) fn head(&self, file: &Path, style: &Style) -> String {
        let count = self.calls.calls.len();
        let plural = if count == 1 { "operation" } else { "operations" };
        let format = self.format.map_or("unknown format", Format::name);
        let mut text = format!("{}: {count} {plural} ({format})\n", style.text(&file.display().to_string()));
        text.push_str(&self.model_line(style));
        for note in &self.calls.notes {
            let _ = writeln!(text, "{}", style.wrap(&format!("note: {note}"), 2));
        }
        text.push('\n');
        text
    }

    /// What the operations are taken for.
    pub(super) fn model_line(&self, style: &Style) -> String {
        let Ok(model) = &self.told else { return String::new() };
        let mut line = format!("model: {model}");
        if self.given.is_none() {
            line.push_str(", told by the operations; --model chooses another");
        }
        let register = matches!(model, Model::Register | Model::CasRegister | Model::EtcdCasRegister);
        match &self.question.initial {
            Initial::Default if register => line.push_str("; initial value nil, --initial chooses another"),
            Initial::Default if *model == Model::MultiRegister => {
                line.push_str("; initial values nil, --initial x=0,y=0 chooses others");
            }
            Initial::Default => {}
            Initial::Value(value) if value.is_nil() => line.push_str("; initial value nil"),
            Initial::Value(value) => {
                let _ = write!(line, "; initial value {value}");
            }
            Initial::Registers(registers) => {
                let each = registers.iter().map(|(name, value)| format!("{name}={value}"));
                let _ = write!(line, "; initial values {}", each.collect::<Vec<_>>().join(","));
            }
        }
        style.wrap(&line, 2) + "\n"
    }

    /// Fields of the file's JSON object.
    pub(super) fn facts(&self) -> Map<String, Json> {
        let mut facts = Map::new();
        facts.insert("format".into(), json!(self.format.map(Format::name)));
        facts.insert("model".into(), json!(self.told.as_ref().ok().map(|model| model.name())));
        facts.insert("operations".into(), json!(self.calls.calls.len()));
        facts.insert("notes".into(), json!(self.calls.notes));
        facts
    }

    /// Runs the named checks and adds what they found.
    ///
    /// # Errors
    /// For people: when a check cannot judge this history.
    pub(super) fn add_checks(
        &self,
        names: &[String],
        judged: &mut Judged,
        style: &Style,
    ) -> Result<(), String> {
        let checks = names.iter().filter_map(|name| plain::find(name));
        let asked = checks.map(|check| self.ask(check)).collect::<Result<Vec<_>, _>>()?;
        let found = self.add_asked(asked, judged, style);
        judged.verdict = judged.verdict.max(found);
        Ok(())
    }

    /// Adds what checks found, and tells the worst verdict.
    fn add_asked(&self, asked: Vec<Asked>, judged: &mut Judged, style: &Style) -> Verdict {
        let mut worst = Verdict::Valid;
        for asked in &asked {
            worst = worst.max(asked.answer.verdict);
            judged.checks.push(self.check_json(asked.check.name(), asked.question.model, &asked.answer));
        }
        if !asked.is_empty() {
            judged.text.push_str(&shown::checks(&asked, &self.calls, style));
        }
        worst
    }

    fn ask(&self, check: &'static dyn PlainCheck) -> Result<Asked, String> {
        let mut question = self.question.clone();
        // A check of one kind of object says which it is.
        if let (None, [only]) = (self.given, check.models()) {
            question.model = Some(*only);
        }
        if let Some(model) = question.model
            && !ladder::judges(check, model)
        {
            let names: Vec<&str> = check.models().iter().map(|model| model.name()).collect();
            return Err(format!(
                "{}: `{}` judges the model {}, not {model}{}",
                self.name,
                check.name(),
                names.join(" or "),
                self.hint()
            ));
        }
        let mut answer = check.judge(&self.calls, &question).map_err(|why| self.unsuitable(&why))?;
        if let Some(why) = self.doubted(check, answer.verdict) {
            answer = Answer { evidence: answer.evidence, ..Answer::unknown(why) };
        }
        Ok(Asked { check, question, answer })
    }

    /// Why a check's verdict hangs in the air: it is valid, and invalid by what the history may mean as well.
    fn doubted(&self, check: &dyn PlainCheck, found: Verdict) -> Option<&'static str> {
        let doubt = self.doubt.filter(|_| found == Verdict::Valid)?;
        let stricter = Question { model: Some(doubt.model), ..self.question.clone() };
        let strict = check.judge(&self.calls, &stricter);
        strict.is_ok_and(|answer| answer.verdict == Verdict::Invalid).then_some(doubt.why)
    }

    fn unsuitable(&self, why: &str) -> String {
        format!("{}: {why}{}", self.name, self.hint())
    }

    /// What to write when the model is not the right one.
    fn hint(&self) -> String {
        let names: Vec<&str> = Model::ALL.iter().map(|(_, name)| *name).collect();
        match self.given {
            None => format!("; --model chooses one of {}", names.join(", ")),
            Some(_) => String::new(),
        }
    }

    /// Climbs the ladder, adds it, and tells the verdict of its strongest level.
    ///
    /// # Errors
    /// For people: when no model is known, or a level's check cannot judge this history.
    pub(super) fn add_ladder(&self, judged: &mut Judged, style: &Style) -> Result<Verdict, String> {
        if let Err(why) = &self.told {
            return Err(self.unsuitable(why));
        }
        let climb = |question: &Question| ladder::climb(&self.calls, question);
        let mut ladder = climb(&self.question).map_err(|why| self.unsuitable(&why))?;
        if let Some(doubt) = self.doubt {
            let stricter = Question { model: Some(doubt.model), ..self.question.clone() };
            let strict = climb(&stricter).map_err(|why| self.unsuitable(&why))?;
            if ladder.doubt(&strict, doubt.why) {
                judged.more.insert("note".into(), json!(doubt.why));
            }
        }
        judged.text.push_str(&shown::ladder(&ladder, &self.calls, &self.question, style));
        judged.more.insert("ladder".into(), self.ladder_json(&ladder));
        judged.more.insert("strongest".into(), json!(ladder.strongest()));
        Ok(ladder.verdict())
    }

    /// The check of the object beside its ladder, where there is one: what a set, a counter or a queue owes whatever the order,
    /// such as listing an element once. Its `unknown` takes nothing from the ladder's verdict: what cannot be missed in
    /// this history is no answer to whether its order is right.
    ///
    /// # Errors
    /// For people, when the check cannot judge this history.
    pub(super) fn add_object(&self, judged: &mut Judged, style: &Style) -> Result<(), String> {
        let Some(check) = self.told.as_ref().ok().and_then(|model| plain::of_object(*model)) else {
            return Ok(());
        };
        let found = self.add_asked(vec![self.ask(check)?], judged, style);
        judged.verdict = judged.verdict.max(if found == Verdict::Invalid { found } else { Verdict::Valid });
        Ok(())
    }

    /// Judges a history of objects that have a check and no model, by that check alone; whether it is one.
    ///
    /// # Errors
    /// For people, when the check cannot judge this history.
    pub(super) fn add_without_model(&self, judged: &mut Judged, style: &Style) -> Result<bool, String> {
        let Some(check) = self.told.as_ref().err().and_then(|_| plain::without_model(&self.calls)) else {
            return Ok(false);
        };
        judged.verdict = self.add_asked(vec![self.ask(check)?], judged, style);
        Ok(true)
    }

    /// Of a violation that hangs on what the object held before everything else, which nobody said.
    pub(super) fn add_start(&self, judged: &mut Judged, style: &Style) {
        if judged.verdict != Verdict::Invalid {
            return;
        }
        let Some(initial) = start::other(&self.calls, &self.question) else { return };
        let hint = format!("With --initial {initial} it is linearizable.");
        let _ = writeln!(judged.text, "\n{}", style.wrap(&hint, 2));
        judged.more.insert("hint".into(), json!(hint));
    }

    fn ladder_json(&self, ladder: &Ladder) -> Json {
        let rungs = ladder.rungs.iter().map(|rung| {
            let model = self.question.model;
            let found = rung.answer.as_ref().map(|answer| self.check_json(rung.name, model, answer));
            json!({
                "name": rung.name,
                "verdict": rung.verdict,
                "implied_by": rung.implied_by,
                "check": found,
            })
        });
        rungs.collect()
    }

    fn check_json(&self, name: &str, model: Option<Model>, answer: &Answer) -> Json {
        let violations: Vec<Json> = answer.proofs.iter().map(|proof| self.violation_json(proof)).collect();
        json!({
            "name": name,
            "mode": CheckMode::Required,
            "model": model.map(Model::name),
            "verdict": answer.verdict,
            "reason": answer.reason,
            "evidence": answer.evidence,
            "violations": violations,
            "violations_total": answer.total,
            "excused": 0,
            "stats": answer.stats,
        })
    }

    /// As a violation of a recorded run, and what only a plain proof has.
    fn violation_json(&self, proof: &Proof) -> Json {
        let positions = |indices: &[u32]| -> Vec<u32> {
            indices.iter().filter_map(|index| Some(self.calls.calls.get(*index as usize)?.invoke)).collect()
        };
        let told: Vec<String> = proof
            .ops
            .iter()
            .filter_map(|index| Some(self.calls.describe(self.calls.calls.get(*index as usize)?)))
            .collect();
        let mut violation = json!({
            "kind": proof.kind,
            "nodes": [],
            "story": proof.story,
            "cause": proof.cause,
            "ops": positions(&proof.ops),
            "faults": [],
            "minimal": proof.minimal,
            "told": told,
            "context": positions(&proof.context),
            "states": proof.states,
        });
        if let (Some(violation), false) = (violation.as_object_mut(), proof.key.is_nil()) {
            let key = match proof.key.to_json() {
                Json::String(key) => key,
                other => other.to_string(),
            };
            violation.insert("key".into(), Json::String(key));
        }
        violation
    }
}
