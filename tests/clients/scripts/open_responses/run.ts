// The Open Responses compliance suite, which is in no registry: from its own sources, in the folder `suite` beside this.
import { runAllTests } from "./suite/src/lib/compliance-tests";

const [baseUrl, model] = process.argv.slice(2);
const config = { baseUrl, apiKey: "any", model, authHeaderName: "Authorization", useBearerPrefix: true };
for (const { id, status, errors } of await runAllTests(config, () => {})) {
  const failure = status === "passed" ? null : (errors ?? [status]).join(" | ").slice(0, 500);
  console.log(JSON.stringify({ check: id, failure }));
}
