/** Asks for the server's API key. */
export function KeyForm(props: { refused: boolean; onKey: (key: string) => void }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const key = form.get("key");
    if (typeof key === "string") props.onKey(key);
  };
  return (
    <form class="panel key-form" onSubmit={submit}>
      <label for="key">
        This server asks for its API key. The page forgets it when it is closed.
      </label>
      <div class="key-row">
        <input id="key" name="key" type="password" autocomplete="off" required />
        <button type="submit">Watch</button>
      </div>
      {props.refused && <p role="alert">The server did not accept that key.</p>}
    </form>
  );
}
