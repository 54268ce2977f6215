//! Operators that no implementation can make exact, with the reason.

const RANDOM: &str = "it gives another answer each time; make the random numbers an input of the model";
const BATCH: &str = "its scale depends on what else is in the batch; quantise with static scales";

/// Why an operator is refused whatever the engine can do, if it is.
pub(crate) fn reason(domain: &str, op: &str) -> Option<&'static str> {
    match (domain, op) {
        (
            "",
            "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" | "Multinomial" | "Bernoulli",
        ) => Some(RANDOM),
        ("", "DynamicQuantizeLinear") => Some(BATCH),
        _ => None,
    }
}
