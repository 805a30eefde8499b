// Uses the dashboard in Chromium as a person would, one scene a run, and looks at the data port and the files beside it.
//
// usage: dashboard.js SCENE '{"admin", "listen", "token", "directory", "banyan", "pictures"?}'; it fails by its exit code.

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [scene, given] = process.argv.slice(2);
const router = JSON.parse(given);
/** For what must happen, on a machine that is busy with other tests. */
const PATIENCE_MS = 30_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const base = `http://${router.admin}/`;
/** What may stand in the console; a refused token is an answer of 401, which browsers note. */
const heard = [];

/** Few connections, each used again: the machine has other tests to serve. */
const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

/** Sends one request of a user to the data port and gives the body, which says who served. */
function served(user, target = "/search") {
  return new Promise((resolve, reject) => {
    const [hostname, port] = router.listen.split(":");
    const request = http.get({ agent, hostname, port, path: target, headers: { "x-user-id": user } }, (answer) => {
      answer.setEncoding("utf8");
      let body = "";
      answer.on("data", (chunk) => (body += chunk)).on("end", () => resolve(body));
    });
    request.on("error", reject);
  });
}

/** How many of 400 users the modern side serves, in percent. */
async function modernShare(target) {
  const answers = await Promise.all(Array.from({ length: 400 }, (_, number) => served(`user-${number}`, target)));
  return answers.filter((answer) => answer === "modern").length / 4;
}

/** A user whom the modern side serves. */
async function modernUser() {
  for (let number = 0; number < 1000; number += 1) if ((await served(`user-${number}`)) === "modern") return `user-${number}`;
  return assert.fail("nobody is served by modern");
}

/** Asks over and over until the answer is right; says what it was last. */
async function until(what, ask, right = Boolean) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (right(answer)) return answer;
    assert.ok(Date.now() < end, `${what}: it stays ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Writes a flag file as an editor does. */
function edit(text) {
  const file = path.join(router.directory, "flags", "test.yaml");
  fs.writeFileSync(`${file}~`, text);
  fs.renameSync(`${file}~`, file);
}
const written = () => fs.readFileSync(path.join(router.directory, "flags", "test.yaml"), "utf8");

async function openPage(browser, settings) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...settings });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && heard.push(message.text()));
  page.on("pageerror", (error) => heard.push(String(error.stack)));
  page.on("dialog", (dialog) => (heard.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on("request", (request) => request.url().startsWith(base) || heard.push(`asked ${request.url()}`));
  await page.goto(base);
  return page;
}

async function signIn(page, name = "") {
  await page.getByLabel("Token").fill(router.token);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".outlook").waitFor();
  return page;
}

const card = (page, flag) => page.getByRole("article", { name: `Flag ${flag}`, exact: true });
const has = (locator, text) => locator.filter({ hasText: text }).waitFor();
const picture = (page, name, settings) => router.pictures && page.screenshot({ path: path.join(router.pictures, `${name}.png`), ...settings });

const scenes = {
  async token(page) {
    assert.equal(await page.getByRole("heading", { name: "Flags" }).count(), 0, "nothing is shown without a token");
    await page.getByLabel("Token").fill("wrong");
    await page.keyboard.press("Enter");
    await has(page.getByRole("alert"), "does not know this token");
    assert.match(heard.splice(0).join(), /^Failed to load resource: the server responded with a status of 401/);
    await signIn(page);
    await card(page, "search-engine").waitFor();
    const kept = await page.evaluate(() => ({ session: Object.values(sessionStorage).sort(), local: localStorage.length, cookie: document.cookie, address: location.href }));
    assert.deepEqual(kept, { session: ["", router.token], local: 0, cookie: "", address: base });
    await page.reload();
    await card(page, "search-engine").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.getItem("banyan-token")), null);
  },

  async kill(page) {
    const user = await modernUser();
    await signIn(page, "Žofie");
    const flag = card(page, "search-engine");
    await flag.getByRole("button", { name: "Kill" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Kill", exact: true }).click();
    assert.ok(await dialog.isVisible(), "without a reason nothing is done");
    assert.equal(await served(user), "modern");
    await dialog.getByLabel("Reason").fill("5xx on <b>checkout</b>");
    await dialog.getByLabel("For").selectOption("30m");
    await dialog.getByRole("button", { name: "Kill", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    assert.equal(await served(user), "legacy", "the dialog closes once the kill is in force");
    await has(flag, "Killed: everybody gets the fallback by Žofie via admin.token5xx on <b>checkout</b>");
    await has(flag, / · until \d\d:\d\d/);
    await has(page.getByRole("status"), "search-engine is killed");
    const entry = page.locator("#history .entry").first();
    await has(entry, "5xx on <b>checkout</b>");
    await has(entry, "Žofie via admin.token");
    await picture(page, "killed");
    await flag.getByRole("button", { name: "Revive" }).click();
    await dialog.getByLabel("Reason").fill("mended");
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert.equal(await served(user), "modern");
    await has(flag, "Under way, by the file");
  },

  async killAll(page) {
    await signIn(page);
    await page.getByRole("button", { name: "Kill all…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("everything burns");
    await dialog.getByRole("button", { name: "Kill every flag" }).click();
    await dialog.waitFor({ state: "detached" });
    assert.equal(await modernShare(), 0);
    for (const flag of ["search-engine", "orders-migration"]) await has(card(page, flag), "Every flag is killed");
    await page.getByRole("button", { name: "Revive all…" }).click();
    await dialog.getByLabel("Reason").fill("the fire is out");
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert.ok((await modernShare()) > 0);
    await page.getByRole("button", { name: "Kill all…" }).waitFor();
  },

  async share(page) {
    const before = await modernShare();
    assert.ok(before > 4 && before < 16, `10 % are modern: ${before}`);
    await signIn(page);
    const flag = card(page, "search-engine");
    await flag.getByRole("button", { name: "Share" }).click();
    const dialog = page.getByRole("dialog");
    const slider = dialog.getByRole("slider");
    await slider.focus();
    for (let step = 0; step < 5; step += 1) await page.keyboard.press("PageUp");
    const part = Number(await slider.inputValue());
    assert.ok(part > 10, `the slider moved by keys: ${part}`);
    await dialog.getByRole("spinbutton").fill("60");
    assert.equal(await slider.inputValue(), "60");
    const words = await until("who would move", () => dialog.locator(".moves").textContent(), (text) => /^[\d,]+ of/.test(text));
    const moved = Number(words.split(" ")[0].replaceAll(",", ""));
    assert.match(words, /of 10,000 sampled users would move/);
    assert.ok(moved > 4_700 && moved < 5_300, `from 10 % to 60 %: ${words}`);
    await picture(page, "share");
    assert.equal(await modernShare(), before, "nothing has moved yet");
    await dialog.getByLabel("Reason").fill("p99 is fine");
    await dialog.getByRole("button", { name: "Apply" }).click();
    await dialog.waitFor({ state: "detached" });
    const after = await modernShare();
    assert.ok(after > 53 && after < 67, `60 % are modern: ${after}`);
    await has(flag, "Share set by admin.tokenp99 is fine");
    await has(flag.locator(".served-words"), /modern 60.%/);
    await has(flag.locator(".served-words"), /file 10.%/);
    await flag.getByRole("button", { name: "Back to the file" }).click();
    await dialog.getByLabel("Reason").fill("enough");
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert.equal(await modernShare(), before, "who moved has moved back");
  },

  /** A share that the router cannot lay over the flag is refused in the dialog, which stays. */
  async refusal(page) {
    await signIn(page);
    await card(page, "search-engine").getByRole("button", { name: "Share" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("spinbutton").fill("20.00001");
    await has(dialog.locator(".moves"), /of 10,000/);
    edit(written().replaceAll("search-engine", "search-engine-2"));
    fs.writeFileSync(path.join(router.directory, "routes", "test.yaml"), fs.readFileSync(path.join(router.directory, "routes", "test.yaml"), "utf8").replaceAll("search-engine", "search-engine-2"));
    await card(page, "search-engine-2").waitFor();
    await dialog.getByLabel("Reason").fill("too late");
    await dialog.getByRole("button", { name: "Apply" }).click();
    await has(dialog.getByRole("alert"), /no flag|came into force/);
    assert.ok(await dialog.isVisible());
    assert.ok(heard.splice(0).every((text) => /status of (404|412)/.test(text)));
  },

  async broken(page) {
    const good = written();
    await signIn(page);
    await page.evaluate(() => (window.loadedOnce = true));
    await has(page.locator("#files"), "in force");
    edit(good.replace("[modern, 10]", "[modren, 10]"));
    await has(page.locator(".rendered.bad"), "modren");
    const shown = await page.locator(".rendered").textContent();
    let printed = "";
    try {
      execFileSync(router.banyan, ["check"], { cwd: router.directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    } catch (error) {
      printed = error.stdout + error.stderr;
    }
    // `check` says before its counts how many files it read.
    const [findings, counts] = [shown.slice(0, shown.trimEnd().lastIndexOf("\n")), shown.trim().split("\n").at(-1)];
    assert.ok(printed.startsWith(findings) && printed.trim().endsWith(`: ${counts}`), `the page shows\n${shown}\nand check prints\n${printed}`);
    await has(page.locator("#files"), "stays in force");
    await has(page.locator(".problems"), "refused");
    await has(page.locator("#history .entry").first(), "reject");
    await picture(page, "broken", { fullPage: true });
    edit(good.replace("[modern, 10], [legacy, 90]", "[modern, 30], [legacy, 70]"));
    await page.locator(".rendered.bad").waitFor({ state: "detached" });
    await has(card(page, "search-engine").locator(".served-words"), /modern 30.%/);
    assert.ok(await page.evaluate(() => window.loadedOnce), "the page was never loaded anew");
  },

  /** An edit on disk shows without a reload, and the track shows where the traffic is. */
  async live(page) {
    await signIn(page);
    await has(page.locator(".pulse"), "live");
    await page.evaluate(() => (window.loadedOnce = true));
    await has(card(page, "orders-migration"), "Under way, by the file");
    edit(written().replace("[live, 10], [shadow, 90]", "[live, 40], [shadow, 60]"));
    const track = card(page, "orders-migration").getByRole("list", { name: "Stages of orders-migration" });
    await has(track.getByRole("listitem").nth(3), /40.%/);
    await has(track.getByRole("listitem").nth(2), /60.%/);
    assert.ok(await page.evaluate(() => window.loadedOnce));
    // Where the traffic is: measured, once there is some.
    const stop = { now: false };
    const flow = (async () => {
      for (let number = 0; !stop.now; number += 1) await served(`user-${number}`, "/api/orders/1");
    })();
    await has(track.getByRole("listitem").nth(3), /\d.% · [\d.]+./);
    await has(card(page, "orders-migration").locator(".served-words"), /last 30 s/);
    await has(card(page, "orders-migration").getByRole("table"), "→ orders");
    stop.now = true;
    await flow;
  },

  /** No mouse: sign in, find the button, kill, and come back to the button; what has focus can be seen. */
  async keyboard(page) {
    await page.locator("input[name=token]:focus").waitFor();
    await page.keyboard.type(router.token);
    await page.keyboard.press("Enter");
    await card(page, "search-engine").waitFor();
    await until("focus before the first flag", () => page.evaluate(() => document.activeElement.id), (id) => id === "page");
    const focused = () => page.evaluate(() => ({ name: document.activeElement === document.body ? "" : document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent.trim(), outline: getComputedStyle(document.activeElement).outlineStyle }));
    const seen = [];
    const tabTo = async (wanted) => {
      for (let step = 0; step < 80; step += 1) {
        await page.keyboard.press("Tab");
        const now = await focused();
        seen.push(now.name);
        if (now.name !== "" && now.name !== "Skip to the flags") assert.equal(now.outline, "solid", `${now.name} shows its focus`);
        if (now.name === wanted) return;
      }
      assert.fail(`${wanted} is not reached: ${seen.join(" | ")}`);
    };
    await tabTo("Kill search-engine…");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal((await focused()).name, "Kill search-engine…", "Escape leads back");
    await page.keyboard.press("Enter");
    await page.locator("input[name=reason]:focus").waitFor();
    await page.keyboard.type("by hand");
    await tabTo("Kill");
    await page.keyboard.press("Space");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await modernShare(), 0);
    await until("focus on the same button, which now revives", focused, ({ name }) => name === "Revive search-engine…");
  },

  async phone(page) {
    await signIn(page);
    edit(written().replace("[modern, 10]", "[a-variant-with-a-name-so-long-that-no-phone-has-room-for-it-on-one-line, 10]"));
    await page.locator(".rendered.bad").waitFor();
    const wide = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(await wide(), 0, "nothing scrolls sideways");
    await card(page, "orders-migration").getByRole("button", { name: "Share" }).click();
    const box = await page.getByRole("dialog").boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 360 && box.y >= 0 && box.y + box.height <= 740, JSON.stringify(box));
    assert.equal(await wide(), 0);
    await picture(page, "phone-share");
    await page.keyboard.press("Escape");
    for (const button of await page.getByRole("button").all()) {
      const { height } = await button.boundingBox();
      assert.ok(height >= 38, `a finger hits ${await button.textContent()}: ${height}`);
    }
    const moving = await page.evaluate(() => [...document.querySelectorAll("*")].filter((element) => getComputedStyle(element).transitionDuration.split(",").some((time) => parseFloat(time) > 0)).length);
    assert.equal(moving, 0, "who asked for less motion gets none");
    await picture(page, "phone", { fullPage: true });
  },

  /** Text keeps 4.5:1 on its ground in both schemes (WCAG 2.2, 1.4.3). */
  async schemes(page) {
    await signIn(page);
    edit(written().replace("[modern, 10]", "[modren, 10]"));
    await page.locator(".rendered.bad").waitFor();
    await card(page, "orders-migration").getByRole("button", { name: "Kill" }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("for the colours");
    await page.keyboard.press("Enter");
    await has(card(page, "orders-migration"), "Killed");
    const grounds = {};
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const { ground, weak } = await page.evaluate(contrasts);
      assert.deepEqual(weak, [], `${colorScheme}: text that is too faint`);
      grounds[colorScheme] = ground;
      await picture(page, colorScheme, { fullPage: true });
    }
    assert.ok(grounds.light > 0.8 && grounds.dark < 0.05, JSON.stringify(grounds));
  },

  /** Names and reasons that look like markup are text. */
  async markup(page) {
    await signIn(page);
    const name = "<img src=x onerror=alert(1)>";
    const flag = card(page, name);
    await flag.waitFor();
    assert.equal(await flag.getByRole("heading").textContent(), name);
    await has(flag, "<script>alert(2)</script>");
    await flag.getByRole("button", { name: "Kill" }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("<svg onload=alert(3)>");
    await page.keyboard.press("Enter");
    await has(flag, "<svg onload=alert(3)>");
    await has(page.locator("#history"), "<svg onload=alert(3)>");
    assert.deepEqual(await page.evaluate(() => [document.querySelectorAll("main img, main script, main [onload]").length]), [0]);
    const refused = await page.evaluate(() => {
      try {
        document.body.innerHTML = "<p>markup</p>";
        return "taken";
      } catch (error) {
        return error.name;
      }
    });
    assert.equal(refused, "TypeError", "the policy refuses text as markup");
    assert.match(heard.splice(0).join(), /requires 'TrustedHTML'/);
  },

  /** Everything comes from the listener, under a policy without inline code, and is not sent twice. */
  async policy(page) {
    const answers = [];
    page.on("response", (answer) => answers.push(answer));
    await page.reload();
    await signIn(page);
    const root = answers.find((answer) => answer.url() === base);
    const headers = root.headers();
    for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]) {
      assert.ok(headers["content-security-policy"].split("; ").includes(part), part);
    }
    assert.ok(!headers["content-security-policy"].includes("unsafe"));
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.equal(headers["referrer-policy"], "no-referrer");
    const app = await fetch(`${base}assets/app.js`);
    const again = await fetch(`${base}assets/app.js`, { headers: { "If-None-Match": app.headers.get("etag") } });
    assert.deepEqual([app.status, again.status, await again.text()], [200, 304, ""]);
    for (const answer of answers.filter((found) => !found.url().includes("/api/"))) assert.ok([200, 304].includes(answer.status()), answer.url());
  },
};

/** Runs in the page: how light the ground is, and which text is fainter than 4.5:1 on what lies under it. */
function contrasts() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, under) => top.slice(0, 3).map((value, at) => (value * top[3] + under[at] * (255 - top[3])) / 255);
  const light = (rgb) => {
    const [red, green, blue] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const groundOf = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const weak = [];
  for (const element of document.querySelectorAll("main *, header *")) {
    const isText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
    if (!isText || element.disabled || element.closest(".hidden")) continue;
    const ground = groundOf(element);
    const [one, other] = [light(over(rgba(getComputedStyle(element).color), ground)), light(ground)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) weak.push(`${element.tagName}.${element.className} ${element.textContent.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return { ground: light(groundOf(document.body)), weak };
}

const SETTINGS = { schemes: { reducedMotion: "reduce" }, phone: { viewport: { width: 360, height: 740 }, reducedMotion: "reduce", hasTouch: true, isMobile: true } };

async function main() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  const page = await openPage(browser, SETTINGS[scene]);
  try {
    await scenes[scene](page);
    assert.deepEqual(heard, [], "the console stays empty");
  } catch (error) {
    console.error(await page.locator("body").innerText().catch(() => "the page is gone"));
    throw error;
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
