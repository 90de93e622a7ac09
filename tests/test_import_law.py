"""The rooms of the project keep to who may import whom; the walls are checked, not trusted."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "appliance"
STDLIB = set(sys.stdlib_module_names)

# What each package may import beside the standard library and itself.
MAY = {
    "core": {"attrs"},
    "http1": {"trio", "httptools", "attrs"},
    "dialects": {"core", "orjson", "attrs"},
    "providers": {"core", "dialects", "attrs", "cryptography"},  # a signature is a pure function of a key and what it signs
    "config": {"core", "attrs", "cattrs", "tomlkit"},
    "prices": {"core", "attrs", "orjson"},  # a table and who is in it; what a request costs is worked out in core
    "telemetry": {"core", "attrs", "orjson", "prometheus_client", "structlog"},
    "store": {"core", "config", "attrs", "orjson"},  # the journal's entries are JSON
    "gateway": {"core", "dialects", "providers", "config", "prices", "telemetry", "store", "http1", "attrs", "trio", "httpx", "certifi"},
    "server": {
        "core", "dialects", "providers", "config", "telemetry", "store", "http1", "gateway", "attrs", "trio", "hypercorn", "orjson",
        "h2",  # what Hypercorn speaks HTTP/2 with: its events and errors
    },
    "simulator": {"core", "dialects", "http1", "attrs", "orjson", "trio"},
}  # fmt: skip
CORE_MAY_NOT = {"time", "random", "os", "socket", "logging", "asyncio", "threading"}
# May import everything; nobody imports them but each other.
ANYWHERE = {"supervisor", "composition", "reload", "services", "drain", "notify", "cli"}


def imported(tree: ast.AST) -> set[str]:
    """Top names imported: `appliance.core.fault` counts as `core`, others as their distribution's name."""
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            if node.module == "appliance":
                names = [f"appliance.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            found.add(parts[1] if parts[0] == "appliance" and len(parts) > 1 else parts[0])
    return found - {"appliance", "__version__"}


def sources() -> list[tuple[str, Path]]:
    return [(path.relative_to(ROOT).parts[0], path) for path in ROOT.rglob("*.py") if path.parent != ROOT]


def test_every_package_imports_only_what_the_law_lets_it():
    broken = []
    for package, path in sources():
        if package == "cli":
            continue
        wrong = imported(ast.parse(path.read_text())) - STDLIB - MAY[package] - {package}
        broken += [f"{path.relative_to(ROOT.parent)} imports {name}" for name in sorted(wrong)]
    assert not broken, "\n".join(broken)


def test_nobody_imports_the_composition_root_or_the_command_line():
    for package, path in sources():
        if package != "cli":
            assert not imported(ast.parse(path.read_text())) & ANYWHERE, path


def test_the_core_is_pure():
    for package, path in sources():
        if package != "core":
            continue
        tree = ast.parse(path.read_text())
        assert not imported(tree) & CORE_MAY_NOT, path
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)], path


def test_prometheus_client_stays_in_the_exposition_module():
    for package, path in sources():
        if path.name != "exposition.py":
            assert "prometheus_client" not in imported(ast.parse(path.read_text())), (package, path)


def test_one_dialect_never_imports_another():
    # By their modules' first word; OpenAI's languages are one vendor's, with the same errors and counts.
    languages = {name: name for name in ("openai", "anthropic", "gemini", "bedrock", "cohere")}
    languages |= {"responses": "openai", "chat": "openai"}
    for package, path in sources():
        own = path.stem.split("_")[0]
        if package != "dialects" or own not in languages:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("appliance.dialects."):
                other = (node.module or "").split(".")[2].split("_")[0]
                assert languages.get(other) in (None, languages[own]), f"{path.name} imports {node.module}"
