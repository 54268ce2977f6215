"""Real daily prices out of Python packages, as the scripts that learn from markets read them."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

# Read from arch; the others are read from bokeh_sampledata.
INDICES = (("sp500", "Adj Close"), ("nasdaq", "Adj Close"), ("wti", "DCOILWTICO"))


def closes():
    """Daily closes by series, indexed by date."""
    arch = Path(importlib.util.find_spec("arch").origin).parent / "data"
    series = {}
    for name, column in INDICES:
        table = pd.read_csv(arch / name / f"{name}.csv.gz")
        dates = pd.to_datetime(table["Date"], format="%m/%d/%Y").dt.date
        series[name] = pd.Series(pd.to_numeric(table[column], errors="coerce").to_numpy(), index=dates).dropna()
    bokeh = Path(importlib.util.find_spec("bokeh_sampledata").origin).parent / "_data" / "stocks.csv.gz"
    for ticker, rows in pd.read_csv(bokeh).groupby("Ticker"):
        series[ticker] = pd.Series(rows["Adj Close"].to_numpy(), index=pd.to_datetime(rows["Date"]).dt.date)
    return series


def windows(close, length, horizon):
    """(last date, `length` log returns oldest first, the `horizon` after them) for each day that has both."""
    returns = np.diff(np.log(close.to_numpy()))
    rows = np.lib.stride_tricks.sliding_window_view(returns, length + horizon)
    dates = np.array(close.index[length + horizon :])
    return dates, rows[:, :length].astype(np.float32), rows[:, length:]
