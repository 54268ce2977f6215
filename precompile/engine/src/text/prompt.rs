//! From messages to the tokens that the model sees.

use foreblock_precompile::{Failure, FailureCode};

use super::{
    request::TextRequest,
    template::{Piece, Template},
    vocabulary::Vocabulary,
};

/// The tokens of a request's prompt. `room` is how many a conversation may have, the answer included.
pub(super) fn tokens(
    request: &TextRequest,
    vocabulary: &Vocabulary,
    template: Option<&Template>,
    room: usize,
) -> Result<Vec<u32>, Failure> {
    let content = |index: usize| {
        let encoded = vocabulary.encode_data(&request.messages[index].1);
        encoded.map_err(|failure| Failure::new(failure.code, format!("message {index}: {}", failure.reason)))
    };
    let tokens = if request.is_plain() {
        content(0)?
    } else {
        let missing = || Failure::new(FailureCode::Template, "the model has no chat template: send one prompt message");
        let roles: Vec<&str> = request.messages.iter().map(|(role, _)| role.as_str()).collect();
        let mut tokens = Vec::new();
        for piece in template.ok_or_else(missing)?.render(&roles)? {
            tokens.extend(match piece {
                Piece::Template(text) => vocabulary.encode_template(&text)?,
                Piece::Content(index) => content(index)?,
            });
        }
        tokens
    };
    let (prompt, answer) = (tokens.len(), request.tokens_max as usize);
    if prompt > request.prompt_tokens_max as usize {
        let reason = format!("a prompt of {prompt} tokens: the request allows {}", request.prompt_tokens_max);
        return Err(Failure::new(FailureCode::PromptTooLong, reason));
    }
    if tokens.is_empty() || prompt + answer > room {
        let reason = format!("a prompt of {prompt} tokens and an answer of {answer}: the model takes {room} together");
        return Err(Failure::new(FailureCode::PromptTooLong, reason));
    }
    Ok(tokens)
}
