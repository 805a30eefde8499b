// Opens pages of other origins in Chromium that try to kill every flag, and says what became of each try.
//
// usage: cross_origin.js ADMIN TOKEN; prints {"NAME": "what became of it"}. The token is more than an attacker has.

const http = require("node:http");
const { chromium } = require("playwright-core");

const [admin, token] = process.argv.slice(2);
const port = admin.split(":")[1];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// The name that an attacker points at the loopback once the page is loaded.
const REBOUND = "--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP evil.example 127.0.0.1";

const page_of = (text) => (_, answer) => {
  answer.setHeader("content-type", "text/html");
  answer.end(text);
};

/** Runs in the page: tries one way and says what the page learns. */
const tries = {
  json: ([base, token]) =>
    fetch(`${base}/api/v1/kill-all`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: '{"reason": "evil"}',
    }).then((answer) => `answered ${answer.status}`, (error) => `failed: ${error.message}`),
  "no-cors": ([base]) =>
    fetch(`${base}/api/v1/kill-all`, { method: "POST", mode: "no-cors", body: '{"reason": "evil"}' }).then(
      (answer) => `opaque ${answer.type} ${answer.status}`,
      (error) => `failed: ${error.message}`,
    ),
  beacon: ([base]) => Promise.resolve(`sent ${navigator.sendBeacon(`${base}/api/v1/kill-all`, '{"reason": "evil"}')}`),
  read: ([base, token]) =>
    fetch(`${base}/api/v1/overrides`, { headers: { authorization: `Bearer ${token}` } }).then(
      (answer) => `answered ${answer.status}`,
      (error) => `failed: ${error.message}`,
    ),
  form: ([base]) =>
    new Promise((resolve) => {
      const frame = Object.assign(document.createElement("iframe"), { name: "sink" });
      const form = Object.assign(document.createElement("form"), {
        method: "POST",
        action: `${base}/api/v1/kill-all`,
        enctype: "text/plain",
        target: "sink",
      });
      form.append(Object.assign(document.createElement("input"), { name: '{"reason": "evil', value: '"}' }));
      document.body.append(frame, form);
      frame.addEventListener("load", () => resolve("loaded"), { once: false });
      form.submit();
    }),
};

async function main() {
  const evil = http.createServer(page_of("<title>evil</title><body></body>"));
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: [...FLAGS, REBOUND] });
  const found = {};
  const page = await browser.newPage();
  for (const origin of [`http://127.0.0.1:${evil.address().port}`, `http://evil.example:${evil.address().port}`]) {
    for (const [name, attempt] of Object.entries(tries)) {
      await page.goto(origin);
      found[`${name} from ${new URL(origin).hostname}`] = await page.evaluate(attempt, [`http://${admin}`, token]);
    }
  }
  // A rebound name: for the browser it is the same origin, so that it sends and lets the page read whatever comes.
  const answer = await page.goto(`http://rebound.example:${port}/openapi.json`);
  found["rebound page"] = `answered ${answer.status()}`;
  found["rebound json"] = await page.evaluate(tries.json, [`http://rebound.example:${port}`, token]);
  // The same try of a page of our own does it: it is not for some other reason that the others failed.
  await page.goto(`http://${admin}/openapi.json`);
  found.before = await page.evaluate(
    ([base, token]) =>
      fetch(`${base}/api/v1/overrides`, { headers: { authorization: `Bearer ${token}` } }).then((answer) => answer.text()),
    [`http://${admin}`, token],
  );
  found.own = await page.evaluate(tries.json, [`http://${admin}`, token]);
  console.log(JSON.stringify(found));
  await browser.close();
  evil.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
