"""web3.py: deploy, ask, filter, read, trace. Prints what it saw as JSON for the Rust test."""

import json
import os

from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError

env = os.environ
w3 = Web3(HTTPProvider(env["NODE_URL"]))
account = w3.eth.account.from_key(env["PRIVATE_KEY"])
with open(env["ARTIFACT"]) as file:
    artifact = json.load(file)
with open(env["QUESTION"]) as file:
    question = [int(word) for word in json.load(file)]


def send(call):
    """Fills in, signs and sends; the receipt."""
    filled = call.build_transaction({"from": account.address, "nonce": w3.eth.get_transaction_count(account.address)})
    signed = account.sign_transaction(filled)
    return w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(signed.raw_transaction), poll_latency=0.05)


def deploy(model):
    factory = w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"]["object"])
    receipt = send(factory.constructor(bytes.fromhex(model.removeprefix("0x"))))
    return w3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])


forecast = deploy(env["MODEL"])
events = forecast.events.Forecasted.create_filter(from_block="latest")
ask = forecast.functions.ask(question)
ask.call({"from": account.address})
estimate = ask.estimate_gas({"from": account.address})
receipt = send(ask)
[event] = events.get_new_entries()
trace = w3.provider.make_request("debug_traceTransaction", [w3.to_hex(receipt["transactionHash"]), {"tracer": "callTracer"}])

try:
    deploy("11" * 32).functions.ask(question).call()
    refused = None
except ContractCustomError as error:
    refused = error.data[:10]

print(json.dumps({
    "address": forecast.address,
    "hash": w3.to_hex(receipt["transactionHash"]),
    "estimate": str(estimate),
    "gasUsed": str(receipt["gasUsed"]),
    "stored": str(forecast.functions.volatility().call()),
    "event": str(event["args"]["volatility"]),
    "logs": len(forecast.events.Forecasted.get_logs(from_block=0)),
    "trace": trace["result"],
    "refused": refused,
}))
