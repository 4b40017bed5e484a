// Codex: `codex exec` asks, with its 20,000 tokens of instructions and tools, and ends with the model's answer.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { check, ensure, model, url } from "./checks.mjs";

const home = mkdtempSync(join(tmpdir(), "codex-"));
writeFileSync(
  join(home, "config.toml"),
  `model = "${model}"
model_provider = "greenroom"

[model_providers.greenroom]
name = "Greenroom"
base_url = "${url}"
wire_api = "responses"
env_key = "GREENROOM_KEY"
`,
);
const codex = join(process.cwd(), "node_modules", ".bin", "codex");

await check("a prompt by codex exec", () => {
  const command = ["exec", "--json", "--skip-git-repo-check", "--sandbox", "read-only", "Say hello."];
  const env = { ...process.env, CODEX_HOME: home, GREENROOM_KEY: "any" };
  const done = spawnSync(codex, command, { cwd: home, env, input: "", encoding: "utf8", timeout: 280_000 });
  const events = done.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const kinds = events.map((event) => event.type);
  ensure(done.status === 0, `exit ${done.status}: ${done.stderr.slice(-500)} ${done.stdout.slice(-500)}`);
  ensure(kinds.includes("turn.completed"), done.stdout.slice(-500));
});

rmSync(home, { recursive: true, force: true });
