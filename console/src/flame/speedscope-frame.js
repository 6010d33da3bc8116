// Runs in the frame that speedscope has, before it: a document of no origin, which has no storage and reaches nothing.
// The page that it is part of hands it the profile, and speedscope asks for it as for a file.

(() => {
  const FILE = "profile.json";
  const script = document.currentScript.dataset.speedscope;
  // A frame without an origin has no storage. speedscope keeps its theme there, and the page says which one it is.
  const kept = {};
  Object.defineProperty(window, "localStorage", { value: kept });

  addEventListener("message", function take(event) {
    if (event.source !== parent || typeof event.data?.profile !== "string") return;
    removeEventListener("message", take);
    const { profile, theme, title } = event.data;
    kept["speedscope-color-scheme"] = theme === "dark" ? "DARK" : "LIGHT";
    window.fetch = async () => new Response(profile, { headers: { "Content-Type": "application/json" } });
    location.hash = `profileURL=${FILE}&title=${encodeURIComponent(title)}`;
    const program = document.createElement("script");
    program.src = script;
    program.onerror = () => parent.postMessage({ speedscope: "failed" }, "*");
    program.onload = () => parent.postMessage({ speedscope: "begun" }, "*");
    document.body.append(program);
  });
  parent.postMessage({ speedscope: "ready" }, "*");
})();
