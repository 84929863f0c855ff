//! The command line of an engine: its arguments with the placeholders replaced. Pure.

use std::borrow::Cow;

use super::validate::Valid;

/// The arguments of the InferenceService's engine, each as the container gets it literally.
///
/// Placeholders: `{model}`, `{modelFile}` (a model that is a path), `{modelName}` (any other), `{maxBatchSize}`,
/// `{gpuCount}`, `{port}` and `{name}` (the InferenceService's). An argument is left out if a placeholder in it has no
/// value; so is the option in front of an argument that is nothing but this placeholder.
pub fn arguments(valid: &Valid) -> Vec<String> {
    let mut built: Vec<String> = Vec::with_capacity(valid.engine.arguments.len());
    let mut is_option = false;
    for template in &valid.engine.arguments {
        match argument(template, valid) {
            Some(argument) => built.push(literal(&argument)),
            None if is_option && is_placeholder(template) => _ = built.pop(),
            None => {}
        }
        is_option = template.starts_with('-') && !template.contains(['=', '{']);
    }
    built
}

/// Escapes $: Kubernetes expands $(NAME) in commands and arguments, and turns $$ into $.
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn is_placeholder(template: &str) -> bool {
    template.starts_with('{') && template.find('}') == Some(template.len() - 1)
}

/// All placeholders.
pub const PLACEHOLDERS: [&str; 7] =
    ["{model}", "{modelFile}", "{modelName}", "{maxBatchSize}", "{gpuCount}", "{port}", "{name}"];

/// A word in braces that looks like a placeholder and is none.
pub fn unknown_placeholder(template: &str) -> Option<&str> {
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        rest = &rest[start..];
        let end = rest[1..].find(|letter: char| !letter.is_ascii_alphanumeric()).map_or(rest.len(), |end| end + 1);
        let word = rest.get(..=end).unwrap_or(rest);
        if end > 1 && word.ends_with('}') && !PLACEHOLDERS.contains(&word) {
            return Some(word);
        }
        rest = &rest[1..];
    }
    None
}

/// What stands for a placeholder.
enum Substitute<'a> {
    Text(Cow<'a, str>),
    /// It has no value here.
    None,
    /// There is no such placeholder.
    Unknown,
}

/// Replaces the placeholders of one argument in a single pass, so that a model named "{port}" stays unchanged. None
/// if a placeholder has no value.
fn argument(template: &str, valid: &Valid) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find('}').map_or(rest.len(), |end| end + 1);
        match substitute(&rest[..end], valid) {
            Substitute::Text(value) => {
                text.push_str(&value);
                rest = &rest[end..];
            }
            Substitute::None => return None,
            Substitute::Unknown => {
                text.push('{');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    Some(text)
}

fn substitute<'a>(placeholder: &str, valid: &Valid<'a>) -> Substitute<'a> {
    let model = &*valid.spec.model;
    let value = match placeholder {
        "{model}" => Some(model.into()),
        "{modelFile}" => model.starts_with('/').then(|| model.into()),
        "{modelName}" => (!model.starts_with('/')).then(|| model.into()),
        "{maxBatchSize}" => valid.spec.max_batch_size.map(|size| size.to_string().into()),
        "{gpuCount}" => (valid.gpu_count > 0).then(|| valid.gpu_count.to_string().into()),
        "{port}" => Some(valid.engine.port.to_string().into()),
        "{name}" => Some(valid.name.into()),
        _ => return Substitute::Unknown,
    };
    value.map_or(Substitute::None, Substitute::Text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::InferenceServiceSpec;
    use crate::catalog::Catalog;
    use crate::model::uid::Uid;
    use crate::reconcile::validate::validate;

    fn built(spec: &InferenceServiceSpec) -> Vec<String> {
        let catalog = Catalog::default();
        arguments(&validate("ns", "demo", Uid::default(), spec, &catalog).expect("valid"))
    }

    fn of(engine: &str, model: &str) -> InferenceServiceSpec {
        InferenceServiceSpec { engine: Some(engine.into()), ..InferenceServiceSpec::of(model) }
    }

    #[test]
    fn a_model_reaches_the_container_literally() {
        for (model, expected) in [
            ("a/b", "a/b"),
            ("a --port=1", "a --port=1"),
            ("$(HOME) $$ $", "$$(HOME) $$$$ $$"),
            ("{port}{maxBatchSize}{{model}", "{port}{maxBatchSize}{{model}"),
            ("Zoë \"' \\ \n", "Zoë \"' \\ \n"),
        ] {
            assert_eq!(built(&InferenceServiceSpec::of(model))[0], expected);
        }
    }

    #[test]
    fn an_argument_without_a_value_is_left_out_with_its_option() {
        let spec = InferenceServiceSpec { gpu_count: Some(0), ..of("llamacpp", "/models/a.gguf") };
        let expected =
            ["--model", "/models/a.gguf", "--alias", "demo", "--host", "::", "--port", "8000", "--kv-unified"];
        assert_eq!(built(&spec), expected);
        let spec = InferenceServiceSpec { max_batch_size: Some(4), ..of("llamacpp", "org/model:Q4_K_M") };
        let built = built(&spec);
        assert_eq!(built[..2], ["--hf-repo", "org/model:Q4_K_M"]);
        assert_eq!(built[8..], ["--parallel", "4", "--kv-unified"]);
    }

    #[test]
    fn only_an_option_in_front_of_a_bare_placeholder_goes_with_it() {
        let mut catalog = Catalog::default();
        let texts =
            ["--a", "x{maxBatchSize}", "b", "{maxBatchSize}", "--c=1", "{maxBatchSize}", "--d", "{maxBatchSize}"];
        catalog.change_default_engine(|engine| engine.arguments = texts.map(str::to_owned).to_vec());
        let spec = InferenceServiceSpec::of("m");
        let valid = validate("ns", "demo", Uid::default(), &spec, &catalog).expect("valid");
        assert_eq!(arguments(&valid), ["--a", "b", "--c=1"]);
    }

    #[test]
    fn every_option_is_one_that_the_engine_has() {
        let sources = [
            ("vllm", include_str!("../../tests/engines/vllm.txt")),
            ("sglang", include_str!("../../tests/engines/sglang.txt")),
            ("llamacpp", include_str!("../../tests/engines/llamacpp.txt")),
        ];
        for (engine, options) in sources {
            let options: BTreeSet<&str> = options.lines().collect();
            for model in ["org/model", "/models/a"] {
                let spec = InferenceServiceSpec { max_batch_size: Some(4), gpu_count: Some(2), ..of(engine, model) };
                let built = built(&spec);
                let used: Vec<&str> = built
                    .iter()
                    .filter(|argument| argument.starts_with("--"))
                    .map(|argument| argument.split('=').next().unwrap_or_default())
                    .collect();
                assert!(used.len() >= 5 && used.iter().all(|option| options.contains(option)), "{engine}: {used:?}");
            }
        }
    }
}
