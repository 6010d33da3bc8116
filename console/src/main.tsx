import "./base.css";
import "./parts.css";
import "./sheet.css";
import "./shell.css";
import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Route, Switch } from "wouter";
import { Refused } from "./api";
import { Audit } from "./audit/page";
import { NewCommand } from "./command/page";
import { Fleet } from "./fleet/page";
import { Services } from "./fleet/services";
import { Workloads } from "./fleet/workloads";
import { Flame } from "./flame/page";
import { Profiles } from "./profiles/page";
import { Health } from "./health/page";
import { Requests } from "./request/list";
import { RequestPage } from "./request/page";
import { Schedules } from "./schedules/page";
import { ME, SignedIn } from "./session";
import { Shell } from "./shell";
import { show, theme } from "./theme";
import { Tokens } from "./tokens/page";

/** Whatever is refused for want of a sign-in: it may have ended, so who is signed in is asked anew. */
function look(error: Error): void {
  if (error instanceof Refused && error.status === 401 && queries.getQueryState(ME)?.status === "success")
    void queries.invalidateQueries({ queryKey: ME });
}

const queries = new QueryClient({
  queryCache: new QueryCache({ onError: look }),
  mutationCache: new MutationCache({ onError: look }),
  defaultOptions: {
    queries: {
      // What is refused stays refused; what cannot be reached comes back, as after a restart of the server.
      retry: (failures, error) =>
        !(error instanceof Refused && error.status >= 400 && error.status < 500) && failures < 100,
      retryDelay: 2_000,
    },
  },
});

const root = document.getElementById("root");
if (root === null) throw new Error("the index has no root");
show(theme());
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <SignedIn>
        <Shell>
          <Switch>
            <Route path="/" component={Fleet} />
            <Route path="/sign-in" component={Fleet} />
            <Route path="/services" component={Services} />
            <Route path="/workloads" component={Workloads} />
            <Route path="/new" component={NewCommand} />
            <Route path="/requests" component={Requests} />
            <Route path="/requests/:id">{({ id }) => <RequestPage id={id} key={id} />}</Route>
            <Route path="/profiles" component={Profiles} />
            <Route path="/flamegraph" component={Flame} />
            <Route path="/schedules" component={Schedules} />
            <Route path="/audit" component={Audit} />
            <Route path="/tokens" component={Tokens} />
            <Route path="/health" component={Health} />
            <Route>
              <h1>There is no such page</h1>
            </Route>
          </Switch>
        </Shell>
      </SignedIn>
    </QueryClientProvider>
  </StrictMode>,
);
