# Sourced by the other scripts: says what is missing before cargo says it less clearly.
for tool in cargo cc; do
    command -v "$tool" >/dev/null || { echo "error: $tool is not installed (a Rust toolchain and a C compiler are needed)" >&2; exit 1; }
done
for component in rustfmt clippy; do
    cargo "${component#rust}" --version >/dev/null 2>&1 || { command -v rustup >/dev/null && rustup component add "$component" >/dev/null 2>&1 || true; }
done
