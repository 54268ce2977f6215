//! Parameters of a method, taken one by one.

use super::RpcError;
use alloy_eips::BlockNumberOrTag;
use jsonrpsee::types::Params;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Parameters by position.
#[derive(Debug)]
pub struct Args {
    values: std::vec::IntoIter<Box<RawValue>>,
    taken: usize,
}

impl Args {
    /// Reads the parameters of a request. An object counts as one parameter.
    pub fn new(params: &Params<'_>) -> Result<Self, RpcError> {
        let values: Vec<Box<RawValue>> = match params.as_str().map(str::trim) {
            None | Some("") => Vec::new(),
            Some(text) if text.starts_with('[') => {
                serde_json::from_str(text).map_err(|error| RpcError::params(format!("invalid params: {error}")))?
            }
            Some(text) => {
                let value = serde_json::from_str(text).map_err(|error| RpcError::params(error.to_string()))?;
                vec![value]
            }
        };
        Ok(Self { values: values.into_iter(), taken: 0 })
    }

    /// The next parameter; an error if it is not there.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, RpcError> {
        let at = self.taken;
        match self.raw() {
            Some(value) => parse(&value, name),
            None => Err(RpcError::params(format!("missing value for required argument {at}: {name}"))),
        }
    }

    /// The next parameter, if it is there and not null.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, RpcError> {
        match self.raw() {
            Some(value) if value.get() != "null" => parse(&value, name).map(Some),
            _ => Ok(None),
        }
    }

    /// The next parameter as a whole number, in hex or decimal, as text or number: `anvil_*` and `evm_*` take all.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>, RpcError> {
        let number = self.big_number(name)?;
        let too_large = |_| RpcError::params(format!("{name} is larger than 2^64 - 1"));
        number.map(|number| u64::try_from(number).map_err(too_large)).transpose()
    }

    /// As [`Self::number`], up to 256 bits.
    pub fn big_number(&mut self, name: &str) -> Result<Option<alloy_primitives::U256>, RpcError> {
        let Some(value) = self.optional::<serde_json::Value>(name)? else { return Ok(None) };
        let text = match &value {
            serde_json::Value::String(text) => text.trim().to_owned(),
            serde_json::Value::Number(number) => number.to_string(),
            // Truffle and Hardhat send the parameter in a list of one.
            serde_json::Value::Array(list) if list.len() == 1 => list[0].to_string().trim_matches('"').to_owned(),
            other => return Err(RpcError::params(format!("{name}: expected a number, got {other}"))),
        };
        let text = if text == "0x" { "0" } else { &text };
        text.parse().map(Some).map_err(|_| RpcError::params(format!("{name}: expected a number, got `{text}`")))
    }

    /// The parameters that are left, as they came.
    pub(super) fn rest(&self) -> &[Box<RawValue>] {
        self.values.as_slice()
    }

    /// The next parameter as a block's number or tag; Otterscan and others send numbers as such.
    pub fn block_number(&mut self) -> Result<BlockNumberOrTag, RpcError> {
        let value: serde_json::Value = self.take("block number")?;
        match value.as_u64() {
            Some(number) => Ok(BlockNumberOrTag::Number(number)),
            None => serde_json::from_value(value)
                .map_err(|error| RpcError::params(format!("invalid argument block number: {error}"))),
        }
    }

    fn raw(&mut self) -> Option<Box<RawValue>> {
        self.taken += 1;
        self.values.next()
    }
}

fn parse<T: DeserializeOwned>(value: &RawValue, name: &str) -> Result<T, RpcError> {
    serde_json::from_str(value.get()).map_err(|error| {
        // The place within the parameter is of no use to who sent it.
        let error = error.to_string();
        let what = error.rsplit_once(" at line ").map_or(error.as_str(), |(what, _)| what);
        RpcError::params(format!("invalid argument {name}: {what}"))
    })
}
