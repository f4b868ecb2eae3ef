// `ckptfs mount`: store, agent, tree and mount, brought up in this order and
// taken down in the reverse one.
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "agent/agent.h"
#include "fs/root.h"
#include "fs/tree.h"
#include "kapi/registry.h"
#include "mount/commands.h"
#include "mount/daemon.h"
#include "mount/exit_codes.h"
#include "mount/fuse_session.h"
#include "mount/mount_table.h"
#include "mount/passphrase.h"

namespace ckptfs {
namespace {

constexpr uint64_t kEventLogBytes = 16 << 20;

int Say(const Error& error) {
  fmt::print(stderr, "ckptfs: {}\n", error.Text());
  return kExitFailed;
}

std::string HostName() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  std::string host(name);
  host = host.substr(0, host.find('.'));
  return CheckName(host, "node") ? host : "node";
}

// Stores are private: this makes the folders above them, which need not be.
Result<std::string> PrepareStore(const std::string& wanted) {
  std::filesystem::path path =
      std::filesystem::absolute(wanted.empty() ? DefaultStore() : wanted).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::error_code failed;
  std::filesystem::create_directories(path.parent_path(), failed);
  if (failed) return Error::FromErrno(failed.value(), "{}", path.parent_path().string());
  return path.string();
}

// Everything between the store and the mount. Members go in the reverse order:
// the tree, whose files leave the agent; the agent, which answers whoever still
// waits (the session is still there for that); then the rest.
struct Parts {
  std::unique_ptr<Store> store;
  std::optional<WorkDir> work_dir;
  std::unique_ptr<EventLog> events;
  Fd store_folder;
  std::unique_ptr<Workers> workers;
  std::unique_ptr<Workers> admissions;
  std::unique_ptr<FuseSession> session;
  std::unique_ptr<Agent> agent;
  std::unique_ptr<View> view;
  std::unique_ptr<Tree> tree;
};

bool IsMounted(const std::string& store_dir) {
  auto mounts = FindMounts();
  return mounts && std::any_of(mounts->begin(), mounts->end(),
                               [&](const MountedTree& one) { return one.source == store_dir; });
}

Result<void> OpenNode(Parts* node, const MountRequest& request, const std::string& store_dir,
                      const Log& log) {
  std::string name = request.node.empty() ? HostName() : request.node;
  if (auto named = CheckName(name, "node"); !named) return named.error();
  StoreOptions options;
  options.dir = store_dir;
  options.node = name;
  options.ask_passphrase = PassphraseFrom(request.passphrase_file);
  options.seal_new_keys = request.seal_keys;
  auto store = Store::Open(options, log);
  // A daemon whose mount is gone is on its way out: `umount` followed by `mount`.
  for (int i = 0; i < 100 && !store && store.error().code() == Errc::kBusy; ++i) {
    if (IsMounted(store_dir)) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    store = Store::Open(options, log);
  }
  if (!store) return store.error();
  node->store = std::move(*store);

  auto work_dir = WorkDir::Make(store_dir);
  if (!work_dir) return work_dir.error();
  node->work_dir.emplace(std::move(*work_dir));
  auto folder = Open(store_dir, O_RDONLY | O_DIRECTORY);
  if (!folder) return folder.error();
  node->store_folder = std::move(*folder);
  auto events = EventLog::Open(node->store_folder.get(), kEventLogBytes);
  if (!events) return events.error();
  node->events = std::move(*events);

  AgentOptions agent_options;
  agent_options.store = node->store.get();
  agent_options.checkpointers = MakeCheckpointers();
  agent_options.node = name;
  agent_options.work_dir = node->work_dir->path();
  agent_options.events = node->events.get();
  agent_options.log = &log;
  auto agent = Agent::Start(std::move(agent_options));
  if (!agent) return agent.error();
  node->agent = std::move(*agent);

  node->workers = std::make_unique<Workers>(4);
  node->admissions = std::make_unique<Workers>(1);
  ViewOptions view;
  view.agent = node->agent.get();
  view.workers = node->workers.get();
  view.admissions = node->admissions.get();
  view.node = name;
  view.uid = ::geteuid();
  view.gid = ::getegid();
  node->view = std::make_unique<View>(std::move(view));
  node->tree =
      std::make_unique<Tree>(std::make_shared<RootFolder>(node->view.get()), node->workers.get());
  return {};
}

Result<void> MountNode(Parts* node, const MountRequest& request, const std::string& store_dir,
                       const std::string& mountpoint, const Log& log) {
  FuseMountOptions options;
  options.mountpoint = mountpoint;
  options.source = store_dir;
  options.options = request.fuse_options;
  auto session =
      FuseSession::Mount(node->tree.get(), node->workers.get(), std::move(options), &log);
  if (!session) return session.error();
  node->session = std::move(*session);
  return {};
}

// Ours is the mount whose device this is, wherever it has been moved to.
std::function<bool()> GoneFrom(const std::string& mountpoint) {
  auto there = MountsAt(mountpoint);
  if (!there || there->empty()) return [] { return false; };
  return [ours = there->back()] {
    auto all = FindMounts();
    if (!all) return false;
    for (const MountedTree& one : *all)
      if (one.major == ours.major && one.minor == ours.minor) return false;
    return true;
  };
}

}  // namespace

std::string DefaultStore() {
  if (::geteuid() == 0) return "/var/lib/ckptfs";
  const char* home = std::getenv("HOME");
  const passwd* user = home == nullptr ? ::getpwuid(::geteuid()) : nullptr;
  return std::string(home != nullptr   ? home
                     : user != nullptr ? user->pw_dir
                                       : "") +
         "/.local/share/ckptfs";
}

int MountCommand(MountRequest request) {
  auto store_dir = PrepareStore(request.store);
  if (!store_dir) return Say(store_dir.error());
  auto mountpoint = PrepareMountpoint(request.mountpoint);
  if (!mountpoint) return Say(mountpoint.error());
  if (!request.passphrase_file.empty())
    request.passphrase_file = std::filesystem::absolute(request.passphrase_file).string();

  auto log_fd = OpenLog(request.log_file, request.foreground);
  if (!log_fd) return Say(log_fd.error());
  auto detaching = Detaching::Begin(request.foreground);
  if (!detaching) return Say(detaching.error());
  Log log(log_fd->get());
  if (auto settled = SettleProcess(log); !settled) return Say(settled.error());
  // Before any other thread: they all inherit what is blocked.
  auto end_watch = EndWatch::Make();
  if (!end_watch) return Say(end_watch.error());

  Parts node;
  if (auto opened = OpenNode(&node, request, *store_dir, log); !opened) return Say(opened.error());
  if (auto mounted = MountNode(&node, request, *store_dir, *mountpoint, log); !mounted)
    return Say(mounted.error());
  (*end_watch)->Watch(GoneFrom(*mountpoint), [&] { node.session->Stop(); });
  if (auto up = detaching->Up(); !up) return Say(up.error());
  log.Info("{} is mounted at {}", *store_dir, *mountpoint);

  auto ended = node.session->Loop();
  // Nobody stops a session that is going.
  end_watch->reset();
  log.Info("{} is no longer mounted", *mountpoint);
  // What was posted finishes while all that it uses is there; only then can no
  // interruption come any more.
  node.admissions.reset();
  node.workers.reset();
  node.tree.reset();
  node.view.reset();
  node.agent.reset();
  node.session.reset();
  if (!ended) {
    log.Err("{}", ended.error().Text());
    return kExitFailed;
  }
  return kExitOk;
}

}  // namespace ckptfs
