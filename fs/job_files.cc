#include "fs/job_files.h"

#include <poll.h>

#include <vector>

#include "fs/control_grammar.h"
#include "fs/text_node.h"

namespace ckptfs {
namespace {

class ControlFile : public OpenedFile {
 public:
  ControlFile(const View* view, std::string job, const Caller& opener)
      : view_(view), job_(std::move(job)), opener_(opener) {}

  void Read(uint64_t offset, size_t limit_bytes, const Caller&,
            const Reply<ReadData>& reply) override {
    reply(ReadData{Slice(CommandHelp(), offset, limit_bytes), {}, nullptr});
  }

  void Write(uint64_t, Bytes bytes, const Caller& caller, const Reply<size_t>& reply) override {
    // The pid is the writer's (it may be a process of the job), the rights are
    // those of whoever opened the file.
    Caller who{caller.pid, opener_.uid, opener_.gid};
    auto command = ParseCommand(AsText(bytes));
    if (!command) return reply(view_->Noted(job_, AsText(bytes), command.error()));
    auto cancel = CancelToken::Make();
    if (!cancel) return reply(view_->Noted(job_, AsText(bytes), cancel.error()));
    // A background command is nobody's to interrupt once it has been given.
    if (!command->background) reply.OnInterrupt([token = *cancel] { token->Cancel(); });
    size_t written = bytes.size();
    // Beginning an operation may write a record: not in the thread that serves the mount.
    view_->workers().Post([view = view_, job = job_, command = std::move(*command), who,
                           cancel = *cancel, written, reply] {
      view->agent().Execute(job, command, who, cancel, [reply, written](const Result<void>& done) {
        if (!done) return reply(done.error());
        reply(written);
      });
    });
  }

 private:
  const View* view_;
  std::string job_;
  Caller opener_;
};

// State is shared with the agent's callback, which may come when the file is closed.
class WaitFile : public OpenedFile {
 public:
  WaitFile(const View* view, std::string job, const Caller& opener)
      : view_(view), job_(std::move(job)), opener_(opener), state_(std::make_shared<State>()) {}
  ~WaitFile() override { WaitFile::Release(); }
  WaitFile(const WaitFile&) = delete;
  WaitFile& operator=(const WaitFile&) = delete;

  void Read(uint64_t offset, size_t limit_bytes, const Caller&,
            const Reply<ReadData>& reply) override {
    uint64_t reader_id = 0;
    std::optional<Result<std::string>> known;
    {
      auto state = state_->guarded.Lock();
      known = state->line;
      if (!known) {
        reader_id = ++state->last_reader;
        state->readers.push_back({reader_id, offset, limit_bytes, reply});
      }
    }
    if (known) return Give(*known, offset, limit_bytes, reply);
    reply.OnInterrupt([state = state_, reader_id] { Interrupted(state, reader_id); });
    Ask();
  }

  short Poll(const std::function<void()>& wake) override {
    if (wake) state_->guarded.Lock()->wake = wake;
    short ready = Ready();
    if (ready != 0) return ready;
    Ask();
    return Ready();
  }

  void Release() override {
    uint64_t id = 0;
    std::vector<Reader>
        readers;  // when the whole tree goes; the kernel closes no file that is read
    {
      auto state = state_->guarded.Lock();
      state->released = true;
      state->wake = nullptr;
      readers.swap(state->readers);
      id = std::exchange(state->wait_id, 0);
    }
    if (id != 0) view_->agent().CancelWait(id);
    for (const Reader& reader : readers)
      reader.reply(Fail(Errc::kCancelled, "the file system is going away"));
  }

 private:
  struct Reader {
    uint64_t id;
    uint64_t offset;
    size_t limit_bytes;
    Reply<ReadData> reply;
  };
  struct Guts {
    std::optional<Result<std::string>> line;  // once the job has ended
    std::vector<Reader> readers;
    std::function<void()> wake;
    uint64_t last_reader = 0;
    uint64_t wait_id = 0;
    bool asked = false;
    bool failed = false;  // the agent's last answer was an error
    bool released = false;
  };
  struct State {
    Guarded<Guts> guarded;
  };

  // A read would not block then.
  short Ready() const {
    auto state = state_->guarded.Lock();
    if (state->line) return POLLIN | POLLRDNORM;
    return state->failed ? POLLIN | POLLRDNORM | POLLERR : 0;
  }

  static void Give(const Result<std::string>& line, uint64_t offset, size_t limit_bytes,
                   const Reply<ReadData>& reply) {
    if (!line) return reply(line.error());
    reply(ReadData{Slice(*line, offset, limit_bytes), {}, nullptr});
  }

  static void Interrupted(const std::shared_ptr<State>& state, uint64_t reader_id) {
    std::optional<Reply<ReadData>> open;
    {
      auto guts = state->guarded.Lock();
      for (auto at = guts->readers.begin(); at != guts->readers.end(); ++at)
        if (at->id == reader_id) {
          open = at->reply;
          guts->readers.erase(at);
          break;
        }
    }
    if (open) (*open)(Fail(Errc::kCancelled, "interrupted"));
  }

  // One question to the agent, however many read and poll.
  void Ask() {
    if (std::exchange(state_->guarded.Lock()->asked, true)) return;
    auto ended = [state = state_](const Result<std::string>& line) { Ended(state, line); };
    auto id = view_->agent().WaitForEnd(job_, opener_, ended);
    if (!id) return Ended(state_, id.error());
    bool too_late = false;
    {
      auto state = state_->guarded.Lock();
      too_late = state->released;
      if (!too_late && !state->line) state->wait_id = *id;
    }
    if (too_late && *id != 0) view_->agent().CancelWait(*id);
  }

  static void Ended(const std::shared_ptr<State>& state, const Result<std::string>& line) {
    std::vector<Reader> readers;
    std::function<void()> wake;
    {
      auto guts = state->guarded.Lock();
      if (guts->line) return;
      readers.swap(guts->readers);
      wake = guts->wake;
      guts->wait_id = 0;
      // An error is answered, not kept: the next read asks again.
      if (line)
        guts->line = line;
      else
        guts->asked = false;
      guts->failed = !line.ok();
    }
    for (const Reader& reader : readers)
      Give(line, reader.offset, reader.limit_bytes, reader.reply);
    if (wake) wake();
  }

  const View* view_;
  std::string job_;
  Caller opener_;
  std::shared_ptr<State> state_;
};

}  // namespace

std::shared_ptr<OpenedFile> OpenControl(const View* view, std::string job, const Caller& opener) {
  return std::make_shared<ControlFile>(view, std::move(job), opener);
}

std::shared_ptr<OpenedFile> OpenWait(const View* view, std::string job, const Caller& opener) {
  return std::make_shared<WaitFile>(view, std::move(job), opener);
}

}  // namespace ckptfs
